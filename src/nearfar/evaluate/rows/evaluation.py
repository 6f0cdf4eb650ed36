"""Losses that need all logits of an anchor at once: value and gradient in one pass over rows.

A block of anchors meets all candidates; the rule turns its logits into losses and their
derivatives, which become gradients of the embeddings before the next block. One similarity, one
exponential and three products a pair, and nothing larger than a block of rows.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, NamedTuple

from nearfar.evaluate.plan import balanced
from nearfar.evaluate.settings import Settings
from nearfar.frameworks import Array, Block, BlockTuples, Namespace, Residuals, SymbolicBlocks
from nearfar.similarity import Similarity

Gradients = tuple[Array | None, ...]


class Found(NamedTuple):
    losses: Array
    """What each anchor's terms add up to, (n,)."""
    terms: Array | None
    """Number of terms that the mean is taken over, (n,); None: one for each anchor."""
    gradients: Gradients
    """For each input that wants one, under the given weights of the anchors."""


class Partial(NamedTuple):
    loss: Array
    terms: Array
    gradients: Gradients
    usable: Array
    """Of all anchors, (n,)."""
    weights: Array | None
    """Of all anchors, where the call gives some, (n,)."""


class RowBatch:
    """The inputs of an evaluation, sorted out; subclasses run its rule over them.

    Unless one says otherwise every anchor has a term, and they stand as the caller gave them.
    """

    one: Array
    """1 for each anchor, (n,), in the compute dtype."""
    sample_weight: Array | None = None
    """How much each anchor counts, as the caller gave it."""

    def __init__(
        self, settings: Any, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> None:
        self.ns, self.settings, self.rule = ns, settings, settings.rule
        self.inputs, self.wanted = inputs, wanted
        self.similarity: Similarity = settings.similarity
        self.workers = ns.workers(settings.options.workers)
        self.options = settings.options_on(ns, inputs[0])
        self.given = settings.sort_out(ns, inputs)
        self.sample_weight = self.given.fact("sample_weight")

    @property
    def weights(self) -> Array | None:
        """How much each anchor counts, (n,); None: all alike."""
        return None if self.sample_weight is None else self.arrange(self.sample_weight)

    def weighted(self, x: Array) -> Array:
        """Values of the anchors (n,), times how much each counts."""
        return x if self.weights is None else x * self.weights

    @property
    def usable(self) -> Array:
        """Which anchors have any term, (n,)."""
        return self.one > 0

    def run(self, weights: Array | None) -> Found:
        """Everything; without weights no gradients."""
        raise NotImplementedError

    def restore(self, x: Array) -> Array:
        """Values of the anchors in the order that the caller knows."""
        return x

    def arrange(self, x: Array) -> Array:
        """Undo `restore`."""
        return x


@dataclass(frozen=True, kw_only=True)
class RowEvaluation(Settings):
    """What all losses by rows share: when to take the gradient, and what to keep for it."""

    batch: ClassVar[type[RowBatch]]

    share: tuple[Any, int] = (0, 1)
    """Which part of the anchors this process computes, of how many; the number may be an array."""

    def forward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        wanted = self.differentiated(inputs, wanted)
        each = self.reduction.reduction == "none"
        batch = self._batch(ns, inputs, wanted)
        # Weights are known but for an upstream vector: the gradient costs no second look.
        found = batch.run(batch.weighted(batch.one) if any(wanted) and not each else None)
        losses = batch.weighted(found.losses)
        factor = self._factor(ns, batch, found)
        if each:
            if residuals is not None and any(wanted):
                residuals.leave(batch)
            return batch.restore(losses * factor), ()
        saved = tuple(g * factor for g in found.gradients if g is not None)
        return ns.xp.sum(losses) * factor, saved

    def _factor(self, ns: Namespace, batch: RowBatch, found: Found) -> Any:
        """What every anchor's sum is multiplied by."""
        n = ns.shape(batch.one)[0]
        weights = batch.weights
        if found.terms is None and weights is None and isinstance(n, int):
            return self.reduction.weight(n)
        terms = batch.weighted(batch.one if found.terms is None else found.terms)
        return self.reduction.factor(ns, terms, batch.usable, weights)

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array | None,
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> Gradients:
        wanted = self.differentiated(inputs, wanted)
        if self.reduction.reduction == "none":
            assert upstream is not None
            batch = (residuals and residuals.take()) or self._batch(ns, inputs, wanted)
            weights = batch.weighted(batch.arrange(upstream) * self.reduction.scale)
            gradients = batch.run(weights).gradients
        else:
            found = iter(saved)
            gradients = tuple(next(found) if w else None for w in wanted)
            if upstream is not None:
                gradients = tuple(None if g is None else g * upstream for g in gradients)
        return self.in_their_dtypes(ns, inputs, gradients)

    def _batch(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> RowBatch:
        return self.batch(self, ns, inputs, wanted)

    def outline(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        if self.reduction.reduction == "none":
            return ((ns.shape(inputs[0])[0],),)
        wanted = self.differentiated(inputs, wanted)
        return ((), *(ns.shape(x) for x, w in zip(inputs, wanted, strict=True) if w))

    def side(self, n: Any, side: int) -> int:
        """`side`, or less, so that there is a block of anchors for every process."""
        parts = self.share[1]
        return side if parts == 1 else min(side, max(1, ceil(n / parts)))

    def mine(self, blocks: BlockTuples) -> BlockTuples:
        """The blocks of anchors that fall to this process."""
        number, parts = self.share
        if isinstance(blocks, SymbolicBlocks):
            return blocks
        if isinstance(number, int):
            return blocks[number::parts]
        # One program for all: the k-th of equal parts.
        own = sum(block.size for block, *_ in blocks) // parts
        first = blocks[0][0].size
        return [(Block(number * own + start, size),) for start, size in balanced(own, first)]

    def partial(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> Partial:
        """This process's part of all that is summed over anchors, before any average."""
        batch = self._batch(ns, inputs, wanted)
        found = batch.run(batch.weighted(batch.one) if any(wanted) else None)
        loss = ns.xp.sum(batch.weighted(found.losses))
        # Of all anchors each process counts its part.
        terms = batch.one / self.share[1] if found.terms is None else found.terms
        terms = ns.xp.sum(batch.weighted(terms))
        return Partial(loss, terms, found.gradients, batch.usable, batch.weights)
