"""Several losses of the same inputs, or of their first features, added up."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from nearfar.frameworks import Array, Evaluation, Kernel, Namespace, Residuals

Gradients = tuple[Array | None, ...]


class Part(NamedTuple):
    evaluation: Any
    weight: float
    features: int | None = None
    """How many features of the embeddings it sees; None: all."""


@dataclass(frozen=True)
class ComposedEvaluation:
    """Each part is evaluated by itself, and leaves for its gradient what it would leave alone."""

    parts: tuple[Part, ...]
    embeddings: int
    """How many of the inputs are embeddings."""

    def forward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        value: Array = None
        saved: tuple[Array, ...] = ()
        left = []
        for part in self.parts:
            seen = self._seen(part, inputs)
            own = None if residuals is None else Residuals()
            found, kept = self._evaluation(part).forward(ns, seen, wanted, own)
            value = part.weight * found if value is None else value + part.weight * found
            left.append((own, kept))
            if residuals is None:
                # As many arrays as are foretold, so that the gradient finds those of every part.
                missing = self._count(ns, part, seen, wanted) - len(kept)
                saved += kept + tuple(0 * found for _ in range(missing))
        if residuals is not None:
            residuals.leave(left)
        return value, saved

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array | None,
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> Gradients:
        left = (residuals and residuals.take()) or self._recalled(ns, inputs, saved, wanted)
        total: list[Array | None] = [None] * len(inputs)
        for part, (own, kept) in zip(self.parts, left, strict=True):
            seen = self._seen(part, inputs)
            found = self._evaluation(part).backward(ns, seen, kept, upstream, wanted, own)
            for k, gradient in enumerate(found):
                if gradient is None:
                    continue
                whole = self._whole(ns, part.weight * gradient, inputs[k])
                total[k] = whole if total[k] is None else total[k] + whole
        return tuple(total)

    def _recalled(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> list[tuple[None, tuple[Array, ...]]]:
        """What each part saved."""
        if not saved:  # where it was left, and taken once
            _, saved = self.forward(ns, inputs, wanted)
        found, start = [], 0
        for part in self.parts:
            end = start + self._count(ns, part, self._seen(part, inputs), wanted)
            found.append((None, saved[start:end]))
            start = end
        return found

    def outline(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        shapes = [
            self._evaluation(part).outline(ns, self._seen(part, inputs), wanted)
            for part in self.parts
        ]
        return ((), *(shape for each in shapes for shape in each[1:]))

    def kernel(self, ns: Namespace, inputs: tuple[Array, ...]) -> tuple[Kernel | None, str]:
        """That of the first part, where every part has one."""
        found: list[tuple[Kernel | None, str]] = [
            part.evaluation.kernel(ns, self._seen(part, inputs)) for part in self.parts
        ]
        return next((each for each in found if each[0] is None), found[0])

    def _evaluation(self, part: Part) -> Evaluation:
        found: Evaluation = part.evaluation
        return found

    def _count(
        self, ns: Namespace, part: Part, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> int:
        return len(self._evaluation(part).outline(ns, inputs, wanted)) - 1

    def _seen(self, part: Part, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        if part.features is None:
            return inputs
        first = tuple(x[..., : part.features] for x in inputs[: self.embeddings])
        return (*first, *inputs[self.embeddings :])

    def _whole(self, ns: Namespace, gradient: Array, like: Array) -> Array:
        """With zeros for the features that the part did not see."""
        if not gradient.shape or gradient.shape[-1] == like.shape[-1]:
            return gradient
        rest = ns.xp.zeros_like(like[..., gradient.shape[-1] :])
        return ns.xp.concat([gradient, rest], axis=-1)
