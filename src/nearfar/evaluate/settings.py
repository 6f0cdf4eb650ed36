"""What all evaluations share: options, reduction, sorting inputs, aligning gradients."""

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from nearfar.frameworks import Array, Block, Kernel, Namespace, Prepared, Problem, choose
from nearfar.similarity import Similarity


class Options(NamedTuple):
    """How to evaluate, never what: these change time and memory, and values only by rounding."""

    tile: int | None = None
    memory: int | None = None
    """None: what the device of the inputs offers, see `Namespace.memory`."""
    workers: int | None = None
    check_finite: bool | None = None
    kernel: str | None = None
    """"tiles", "fused", or None: fused where it fits."""


class Reduction(NamedTuple):
    """From anchors' losses to a value: averages, empty anchors and the scale are weights."""

    reduction: str  # "mean", "sum", "none"
    scale: float = 1.0
    average: str = "anchors"  # "anchors", "pairs"
    without_positives: str = "skip"  # "skip", "zero"

    def weights(
        self, ns: Namespace, count: Array, counted: Array, given: Array | None = None
    ) -> Array:
        """One weight per anchor (n,), from its number of positives and the weight that it is given;
        0 where it does not count."""
        xp = ns.xp
        one = xp.ones_like(count)
        if given is not None:
            one, count = one * given, count * given
        terms = xp.where(counted, count if self.average == "pairs" else one, xp.zeros_like(count))
        if self.reduction != "mean":
            return terms * self.scale
        zero_counts = self.average == "anchors" and self.without_positives == "zero"
        total = xp.sum(one if zero_counts else terms)
        return terms * (self.scale / xp.where(total > 0, total, xp.ones_like(total)))

    def weight(self, n: int) -> float:
        """The one weight of n anchors that all count and have one positive."""
        return self.scale / n if self.reduction == "mean" else self.scale

    def factor(
        self, ns: Namespace, terms: Array, usable: Array, weights: Array | None = None
    ) -> Array:
        """What every anchor's weighted sum is multiplied by.

        `usable` anchors have terms, so many (n,), times their `weights` where anchors have some.
        """
        xp = ns.xp
        if self.reduction != "mean":
            return self.scale * xp.ones_like(xp.sum(terms))
        total = xp.sum(terms)
        if self.without_positives == "zero":
            empty = ns.cast(~usable, terms.dtype)
            total = total + xp.sum(empty if weights is None else empty * weights)
        return self.scale / xp.where(total > 0, total, xp.ones_like(total))


class Inputs(NamedTuple):
    """The inputs, sorted out."""

    embeddings: tuple[Array, ...]
    """In the compute dtype."""
    facts: tuple[Array, ...]
    """What the call says of rows beside: labels, targets, ids, weights."""
    names: tuple[str, ...]
    """Of the embeddings, then of the facts."""
    temperature: Any = 1.0
    """A number, or an array without axes in the compute dtype."""
    bias: Any = 0.0

    def fact(self, name: str) -> Array | None:
        """The fact of this name; None where the call was given none."""
        known = dict(zip(self.names[len(self.embeddings) :], self.facts, strict=True))
        return known.get(name)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Inputs come as embeddings, then facts, then those parameters that are arrays."""

    rule: Any
    similarity: Similarity
    """Or a distance, taken negative."""
    parts: int
    """How many of the inputs are embeddings."""
    parameters: tuple[float | None, ...]
    """Temperature and bias, as far as the loss has them; None: the array comes with the inputs."""
    names: tuple[str, ...]
    """Of the embeddings and of the facts that the call was given."""
    reduction: Reduction
    options: Options

    def sort_out(self, ns: Namespace, inputs: tuple[Array, ...]) -> Inputs:
        parts = inputs[: self.parts]
        dtype = ns.compute_dtype(*parts)
        learned = len(inputs) - self._learned()
        arrays = iter(inputs[learned:])
        parameters = (
            ns.cast(next(arrays), dtype) if known is None else known for known in self.parameters
        )
        return Inputs(
            tuple(ns.cast(z, dtype) for z in parts),
            inputs[self.parts : learned],
            self.names,
            *parameters,
        )

    def options_on(self, ns: Namespace, like: Array) -> Options:
        """The options, with what the device of `like` offers where they leave it open."""
        if self.options.memory is not None:
            return self.options
        return self.options._replace(memory=ns.memory(like))

    def kernel(
        self, ns: Namespace, inputs: tuple[Array, ...], own: Block | None = None
    ) -> tuple[Kernel | None, str]:
        """The fused kernel that computes this, or None; and its name, or why none does: "" where
        the device has none, see `without_kernels`.

        `own`: rows whose anchors this process computes.
        """
        if self.options.kernel == "tiles":
            return None, 'kernel="tiles" was asked for'
        kernels = ns.kernels(inputs[0], self.options.kernel == "fused")
        if not kernels:  # which a small batch notices
            return None, ""
        return choose(kernels, self.problem(ns, inputs, own))

    def prepared(self, ns: Namespace, inputs: tuple[Array, ...]) -> Prepared | None:
        """What serves all calls with inputs of these shapes, if they are small."""
        return None

    def problem(self, ns: Namespace, inputs: tuple[Array, ...], own: Block | None) -> Problem | str:
        """What a kernel is asked, or why none need be."""
        return f"there are no fused kernels for the rule {type(self.rule).__name__}"

    def _problem(
        self, ns: Namespace, inputs: tuple[Array, ...], own: Block | None, **more: Any
    ) -> Problem:
        parts, like = inputs[: self.parts], inputs[0]
        dtypes = [str(x.dtype).rpartition(".")[2] for x in parts]
        return Problem(
            framework=ns.name,
            device=ns.device_kind(like),
            dtype=dtypes[0] if len(set(dtypes)) == 1 else ",".join(dtypes),
            rows=tuple(ns.shape(x)[0] for x in parts),
            features=prod(ns.shape(like)[1:]) if len(like.shape) > 1 else 1,
            similarity=self.similarity.name,
            rule=type(self.rule).__name__,
            learned=tuple(known is None for known in self.parameters),
            own=own,
            **more,
        )

    def _learned(self) -> int:
        return sum(known is None for known in self.parameters)

    def differentiated(
        self, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[bool, ...]:
        """`wanted` without labels and targets, which some frameworks take for variables."""
        learned = len(inputs) - self._learned()
        return tuple(w and not self.parts <= k < learned for k, w in enumerate(wanted))

    def learns(self, wanted: tuple[bool, ...]) -> bool:
        """Whether a parameter's gradient is wanted."""
        return any(wanted[len(wanted) - self._learned() :])

    def align(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        embeddings: tuple[Array | None, ...],
        parameters: tuple[Array, ...],
    ) -> tuple[Array | None, ...]:
        """One gradient per input, in its shape; None where it is not wanted."""
        learned = [
            slope
            for slope, known in zip(parameters, self.parameters, strict=False)
            if known is None
        ]
        facts = len(inputs) - self.parts - len(learned)
        found = (*embeddings, *(None,) * facts, *learned)
        return tuple(
            _shaped(ns, g, x) if w and g is not None else None
            for g, x, w in zip(found, inputs, wanted, strict=True)
        )

    def in_their_dtypes(
        self, ns: Namespace, inputs: tuple[Array, ...], gradients: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        """Gradients as the inputs want them."""
        pairs = zip(gradients, inputs, strict=True)
        return tuple(None if g is None else ns.cast(g, x.dtype) for g, x in pairs)


def _shaped(ns: Namespace, gradient: Array, like: Array) -> Array:
    if len(gradient.shape) == len(like.shape):
        return gradient
    return ns.xp.reshape(gradient, ns.shape(like))


def without_kernels(ns: Namespace, like: Array) -> str:
    """Why there are none on the device of `like`."""
    if ns.kernels(like, True):
        return (
            "the fused kernels have not been seen to run on a device of this kind; "
            'kernel="fused" takes them'
        )
    return f"there are no fused kernels for {ns.name} on this device"
