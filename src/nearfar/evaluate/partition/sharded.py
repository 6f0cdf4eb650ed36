"""A partition loss of one batch over several processes: each takes the strip of its own rows.

All embeddings are known everywhere. Pass 1 sums up a process's own anchors over all columns; once
these sums are known of all anchors, G_ij = dL_i/ds_ij + dL_j/ds_ij is known for any tile, and pass
2 over the same strip gives the whole gradient of the process's own rows. No gradient travels.

The sum of anchor j was made by the process whose row it is, of s_ji. Where a logit's rounding
shows in its exponential (see `exponentials.py`), both processes make the two logits of a pair by
one and the same product: of the same blocks, the rows of the one with the lower number first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nearfar.evaluate.partition.backward import vjp
from nearfar.evaluate.partition.evaluation import PartitionBatch, PartitionEvaluation, Passes
from nearfar.evaluate.partition.forward import TileSums, accumulate
from nearfar.evaluate.partition.fused import FusedPasses
from nearfar.evaluate.partition.tile import TileContext
from nearfar.evaluate.plan import Kind, Plan, Tiles, balanced, overlap
from nearfar.frameworks import Array, Block, Namespace
from nearfar.pairing import DeviceLabels, Pairing
from nearfar.rules import Slopes

Complete = Callable[[tuple[Array, ...]], tuple[Array, ...]]
"""Values of the own anchors, (own,) each, to those of all anchors, (n,)."""


class Shard(NamedTuple):
    value: Array
    """Of the whole batch."""
    gradients: tuple[Array, ...]
    """Of the own rows of each input that is an embedding, whole; empty if none is wanted."""
    by_temperature: Array | None
    """This process's part."""


def strip(
    evaluation: PartitionEvaluation,
    ns: Namespace,
    inputs: tuple[Array, ...],
    shares: Sequence[Block],
    number: int,
    complete: Complete,
    gradient: bool,
) -> Shard:
    """The value of all `inputs`, and the gradient of the own rows of each embedding: of the shares
    of all processes, the one with this number. Where one program serves all processes only the
    device knows where shares start; they are of one size then."""
    batch = _OwnBatch(evaluation, ns, inputs, shares, number, complete)
    passes = batch.passes(inputs)
    seen = batch.complete_sums(passes)
    finished = [evaluation.rule.finish(ns, batch.anchors(side)) for side in seen]
    loss = sum((loss for loss, _ in finished[1:]), finished[0][0])
    value = ns.xp.sum(batch.weights * batch.only_counted(loss))
    if not gradient:
        return Shard(value, (), None)
    slopes = tuple(batch.weighted(s, ns.xp.ones_like(value)) for _, s in finished)
    return Shard(value, *batch.own_gradients(passes, seen, slopes))


class _OwnBatch(PartitionBatch):
    def __init__(
        self,
        settings: PartitionEvaluation,
        ns: Namespace,
        inputs: tuple[Array, ...],
        shares: Sequence[Block],
        number: int,
        complete: Complete,
    ) -> None:
        # Two views of a pair are two anchors that stand side by side.
        times = settings.parts if settings.pairing == "views" else 1
        self._rows, self._complete = shares[number], complete
        self._shares = [Block(each.start * times, each.size * times) for each in shares]
        self._own = self._shares[number]
        super().__init__(settings, ns, inputs, self._rows)

    def _pair_up(self, inputs: tuple[Array, ...]) -> Pairing:
        # Sorted by class, the own rows would not stand together.
        if self.settings.pairing == "labels":
            return DeviceLabels(self.ns, inputs[1])
        return super()._pair_up(inputs)

    def _partners(self) -> None:
        """None: their gradient is that of all rows, of which this process computes its own."""
        return None

    def _counts(self, like: Array) -> Array:
        if self.settings.pairing != "many_labels":
            return super()._counts(like)
        pairs = [(i, j) for i, j, _ in self._tiles()]
        return self._whole(self.pairing.counts(self.ns, like, pairs))

    def _whole(self, x: Array) -> Array:
        return self._complete((self.ns.rows(x, self._own),))[0]

    def _tiles(self) -> list[tuple[Block, Block, bool]]:
        """Blocks of the own rows beside blocks of all, and whether they have rows in common."""
        own = self._cut(self._own)
        if isinstance(self._own.start, int) and not self.guarded:
            everyone = self._cut(Block(0, self.pairing.n))
            return [(i, j, overlap(i, j)) for i in own for j in everyone]
        blocks = [own if share is self._own else self._cut(share) for share in self._shares]
        return [(i, j, i is j) for others in blocks for i in own for j in others]

    def _cut(self, share: Block) -> list[Block]:
        if share.size == 0:
            return []
        blocks = balanced(share.size, self.side, max(1, self.pairing.together))
        return [Block(share.start + start, size) for start, size in blocks]

    def _plan(self) -> Plan:
        anywhere = self.settings.pairing in ("labels", "many_labels")
        found: dict[Kind, list[tuple[Block, ...]]] = {}
        for i, j, meet in self._tiles():
            kind = Kind(positives=meet or anywhere, negatives=True, diagonal=meet, one_way=True)
            found.setdefault(kind, []).append((i, j))
        return tuple(Tiles(kind, (items,)) for kind, items in found.items())

    def _directions(self, tiling: TileContext) -> list[TileContext]:
        """One for each side: its own rows against all of the other side, or of the same."""
        guarded, sides = self.guarded, len(tiling.sides)
        tiling = tiling._replace(complete=self._whole, aligned=guarded)
        other = tiling._replace(sides=tiling.sides[::-1], cuts=tiling.cuts[::-1])
        if guarded and sides == 1:
            tiling = tiling._replace(turned="below")
        elif guarded:
            other = other._replace(turned="all")
        return [tiling, other][:sides]

    def complete_sums(self, passes: Passes) -> tuple[TileSums, ...]:
        """Pass 1 over the own anchors, and what the other processes found for theirs."""
        ns = self.ns
        if isinstance(passes, FusedPasses):
            alike = isinstance(self.count, int)
            found = passes.forward(self.count if alike else ns.rows(self.count, self._own))
            parts = tuple(x for side in found for x in self.flattened(side))
        else:
            found = tuple(accumulate(tiling)[0] for tiling in self._directions(passes))
            parts = tuple(ns.rows(x, self._own) for side in found for x in self.flattened(side))
        whole = iter(self._complete(parts))
        return tuple(self.recalled(whole) for _ in found)

    def own_gradients(
        self, passes: Passes, seen: tuple[TileSums, ...], slopes: tuple[Slopes, ...]
    ) -> tuple[tuple[Array, ...], Array]:
        """Gradients of the own rows, and this process's part of that of the temperature."""
        ns = self.ns
        parts = [
            ns.xp.sum(ns.rows(s.temperature, self._own))
            for s in slopes
            if s.temperature is not None
        ]
        if isinstance(passes, FusedPasses):
            gradients, slope = passes.backward(seen, slopes)
            return gradients, sum(parts, 0.0 if slope is None else slope)
        restored = []
        for side, tiling in enumerate(self._directions(passes)):
            turn = slice(None, None, -1 if side else 1)
            gradient = vjp((tiling,), seen[turn], slopes[turn])[0]
            rows = self.sides[side]
            restored.append(self.similarity.restore(ns, rows, gradient, self.temperature))
        parts += [slope for _, slope in restored]
        whole = self.pairing.scatter(ns, tuple(z for z, _ in restored))
        return tuple(ns.rows(z, self._rows) for z in whole), sum(parts[1:], parts[0])
