"""Several losses of the same inputs, or of their first features, added up."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from nearfar.frameworks import Array, Evaluation, Kernel, Namespace, Prepared, Residuals

Gradients = tuple[Array | None, ...]


class Part(NamedTuple):
    evaluation: Any
    weight: float
    features: int | None = None
    """How many features of the embeddings it sees; None: all."""


class _Sums:
    """Gradients of the parts, added up."""

    def __init__(self, ns: Namespace, inputs: tuple[Array, ...]) -> None:
        self._ns, self._inputs = ns, inputs
        self._total: list[Array | None] = [None] * len(inputs)

    def add(self, weight: float, gradients: Gradients) -> None:
        for k, gradient in enumerate(gradients):
            if gradient is not None:
                whole = self._whole(weight * gradient, self._inputs[k])
                total = self._total[k]
                self._total[k] = whole if total is None else total + whole

    def times(self, upstream: Array | None) -> Gradients:
        if upstream is None:
            return tuple(self._total)
        return tuple(None if x is None else x * upstream for x in self._total)

    def _whole(self, gradient: Array, like: Array) -> Array:
        """With zeros for the features that the part did not see."""
        if not gradient.shape or gradient.shape[-1] == like.shape[-1]:
            return gradient
        rest = self._ns.xp.zeros_like(like[..., gradient.shape[-1] :])
        return self._ns.xp.concat([gradient, rest], axis=-1)


@dataclass(frozen=True)
class ComposedEvaluation:
    """Each part is evaluated by itself, its gradient right after its value where both are wanted:
    what it keeps for that is gone before the next part, and `memory=` holds for them all."""

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
        at_once = residuals is not None and any(wanted) and self._keeps_digits(ns, inputs)
        left, gradients = [], _Sums(ns, inputs)
        for part in self.parts:
            seen = self._seen(part, inputs)
            own = None if residuals is None else Residuals()
            found, kept = self._evaluation(part).forward(ns, seen, wanted, own)
            value = part.weight * found if value is None else value + part.weight * found
            if at_once:
                pulled = self._evaluation(part).backward(ns, seen, kept, None, wanted, own)
                gradients.add(part.weight, pulled)
            elif residuals is not None:
                left.append((own, kept))
            else:
                # As many arrays as are foretold, so that the gradient finds those of every part.
                missing = self._count(ns, part, seen, wanted) - len(kept)
                saved += kept + tuple(0 * found for _ in range(missing))
        if residuals is not None:
            residuals.leave(gradients if at_once else left)
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
        found = residuals.take() if residuals is not None else None
        if found is None and ns.in_place and not saved:
            # It is asked for again, and has to be the same.
            residuals = Residuals()
            self.forward(ns, inputs, wanted, residuals)
            found = residuals.take()
        if isinstance(found, _Sums):
            return found.times(upstream)
        gradients = _Sums(ns, inputs)
        left = found or self._recalled(ns, inputs, saved, wanted)
        for part, (own, kept) in zip(self.parts, left, strict=True):
            seen, weight, above = self._seen(part, inputs), part.weight, upstream
            if upstream is not None:
                weight, above = 1.0, upstream * part.weight
            pulled = self._evaluation(part).backward(ns, seen, kept, above, wanted, own)
            gradients.add(weight, pulled)
        return gradients.times(None)

    def _keeps_digits(self, ns: Namespace, inputs: tuple[Array, ...]) -> bool:
        """Whether gradients are in the dtype that they are computed in, so that they may be
        multiplied after. Those of halves are not: a loss scaler and a weight come first."""
        embeddings = inputs[: self.embeddings]
        dtype = ns.compute_dtype(*embeddings)
        return all(x.dtype == dtype for x in embeddings)

    def _recalled(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> list[tuple[None, tuple[Array, ...]]]:
        """What each part saved."""
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

    def prepared(self, ns: Namespace, inputs: tuple[Array, ...]) -> Prepared | None:
        """None: each part is evaluated by itself."""
        return None

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
