"""What every evaluation does with its inputs first, and with their gradients last."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from nearfar.evaluate.options import Options
from nearfar.evaluate.reduction import Reduction
from nearfar.frameworks import Array, Namespace
from nearfar.similarity import Similarity


class Inputs(NamedTuple):
    """The inputs, sorted out."""

    embeddings: tuple[Array, ...]
    """In the compute dtype."""
    facts: tuple[Array, ...]
    """Labels or targets."""
    temperature: Any = 1.0
    """A number, or an array without axes in the compute dtype."""
    bias: Any = 0.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Inputs come as embeddings, then facts, then those parameters that are arrays."""

    similarity: Similarity
    """Or a distance, taken negative."""
    parts: int
    """How many of the inputs are embeddings."""
    parameters: tuple[float | None, ...]
    """Temperature and bias, as far as the loss has them; None: the array comes with the inputs."""
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
            tuple(ns.cast(z, dtype) for z in parts), inputs[self.parts : learned], *parameters
        )

    def options_on(self, ns: Namespace, like: Array) -> Options:
        """The options, with what the device of `like` offers where they leave it open."""
        if self.options.memory is not None:
            return self.options
        return self.options._replace(memory=ns.memory(like))

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
        embeddings: tuple[Array, ...],
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
