"""Value and gradient of a partition rule: one set of embeddings, or two whose rows are matched."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from nearfar.evaluate.partition.anchors import AnchorSet
from nearfar.evaluate.partition.backward import vjp
from nearfar.evaluate.partition.exponentials import Exponentials, exponentials_for
from nearfar.evaluate.partition.forward import TileSums, accumulate
from nearfar.evaluate.partition.fused import FusedPasses
from nearfar.evaluate.partition.matched import MatchedPairs
from nearfar.evaluate.partition.small import SmallBatch, SmallEvaluation, SmallShape
from nearfar.evaluate.partition.tile import TileContext, each_once
from nearfar.evaluate.partition.tile_cache import TileCache
from nearfar.evaluate.plan import Plan, all_pairs, by_class, rectangular, tile_side, uniform
from nearfar.evaluate.settings import Settings
from nearfar.evaluate.whole import Finish, WholePartition
from nearfar.frameworks import Array, Block, Namespace, Prepared, Problem, Residuals
from nearfar.pairing import DeviceLabels, Pairing, PairingKind, Partnered, pair_up
from nearfar.rules import PartitionRule, Slopes

# Tiles that a thread works in.
_BUFFERS = 4


Passes = TileContext | FusedPasses


@dataclass(frozen=True, kw_only=True)
class PartitionEvaluation(Settings):
    """Anchors are all rows; with two sides, an anchor's loss is the mean of both directions.

    `include_self` is True where an anchor's own logit counts with its negatives, "positive" where
    it does with its positives. With `first_only` the anchors are the rows of the first view.
    """

    rule: PartitionRule
    pairing: PairingKind
    include_self: bool | str = False
    first_only: bool = False

    def forward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        whole = self._whole(ns, inputs)
        if whole is not None:
            return whole.forward(wanted, residuals)
        small = None if residuals is None else self._small(ns, inputs)
        if small is not None and residuals is not None:
            value = small.forward()
            residuals.leave(small)
            return value, ()
        batch = PartitionBatch(self, ns, inputs)
        passes = batch.passes(inputs, store=residuals is not None and any(wanted))
        seen = batch.sums(passes)
        finished = [self.rule.finish(ns, batch.anchors(side)) for side in seen]
        if residuals is not None and any(wanted):
            residuals.leave((batch, passes, seen, [slopes for _, slopes in finished]))
        loss = sum((losses for losses, _ in finished[1:]), finished[0][0])
        loss = batch.only_counted(loss)
        batch.warn_if_none_counts()
        saved = tuple(x for side in seen for x in batch.flattened(side))
        if residuals is None:
            # As many arrays as there may be: a compiled program is told their number beforehand.
            missing = len(seen) * self._saved() - len(saved)
            saved += tuple(ns.xp.zeros_like(saved[0]) for _ in range(missing))
        if self.reduction.reduction == "none":
            loss = batch.pairing.restore(ns, batch.weights * loss)
            return (ns.xp.reshape(loss, (2, -1))[0, :] if self.first_only else loss), saved
        return ns.weighted_sum(loss, batch.weights), saved

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array | None,
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> tuple[Array | None, ...]:
        whole = self._whole(ns, inputs)
        if whole is not None:
            return whole.backward(saved, upstream, wanted, residuals)
        if not saved:
            residuals = residuals or Residuals()
            small: SmallBatch | None = residuals.take(SmallBatch)
            if small is None:  # the gradient is asked for again, and has to be the same
                _, saved = self.forward(ns, inputs, wanted, residuals)
                small = residuals.take(SmallBatch)
            if small is not None:
                return small.backward(upstream, wanted)
        pairing, rows, slope = self._pulled(ns, inputs, saved, upstream, residuals)
        embeddings = rows if pairing is None else pairing.scatter(ns, rows)
        aligned = self.align(ns, inputs, wanted, embeddings, (slope,))
        return self.in_their_dtypes(ns, inputs, aligned)

    def _pulled(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array | None,
        residuals: Residuals | None,
    ) -> tuple[Pairing | None, tuple[Array, ...], Array]:
        """The gradients of the sides and of the temperature, after which the batch is gone: a
        pairing may need its room for another order. Without one they are those of the inputs."""
        batch, passes, seen, own = (residuals and residuals.take()) or self._again(
            ns, inputs, saved
        )
        if self.reduction.reduction == "none":
            assert upstream is not None
            if self.first_only:
                upstream = ns.xp.concat([upstream, ns.xp.zeros_like(upstream)], axis=0)
            upstream = batch.pairing.arrange(ns, upstream)
        slopes = tuple(batch.weighted(s, upstream) for s in own)
        by_temperature = [ns.xp.sum(s.temperature) for s in slopes if s.temperature is not None]
        if isinstance(passes, FusedPasses):
            gradients, slope = passes.backward(seen, slopes)
            return None, gradients, sum(by_temperature, 0.0 if slope is None else slope)
        embeddings, slope = batch.similarity.restore_all(
            ns, batch.sides, vjp((passes,), seen, slopes), batch.temperature
        )
        return batch.pairing, embeddings, sum(by_temperature, slope)

    def _again(
        self, ns: Namespace, inputs: tuple[Array, ...], saved: tuple[Array, ...]
    ) -> tuple["PartitionBatch", "Passes", tuple[TileSums, ...], list[Slopes]]:
        """What the forward pass knew, from what it saved."""
        batch = PartitionBatch(self, ns, inputs)
        found = iter(saved)
        seen = tuple(batch.recalled(found) for _ in range(self.sides))
        slopes = [self.rule.finish(ns, batch.anchors(side))[1] for side in seen]
        return batch, batch.passes(inputs), seen, slopes

    def idle(self, ns: Namespace, inputs: tuple[Array, ...]) -> Array:
        """True for anchors whose loss does not depend on their negatives, though they have some."""
        batch = PartitionBatch(self, ns, inputs)
        (seen,) = batch.sums(batch.passes(inputs))
        _, slopes = self.rule.finish(ns, batch.anchors(seen))
        return batch.pairing.restore(ns, (slopes.logs[0] == 0) & (batch.negatives > 0))

    @property
    def sides(self) -> int:
        return 2 if self.pairing == "matched" else 1

    def _saved(self) -> int:
        """How many arrays of one side may be saved: the logarithms of sums are two each, and a
        function of pairs may bring a slope."""
        rule, pair = self.rule, self.rule.pair
        return 2 * len(rule.sums) + rule.linear + (0 if pair is None else 2 + pair.log)

    def problem(self, ns: Namespace, inputs: tuple[Array, ...], own: Block | None) -> Problem:
        pair = self.rule.pair
        return self._problem(
            ns,
            inputs,
            own,
            kind="partition",
            pairing=self.pairing,
            labels=str(inputs[1].dtype).rpartition(".")[2] if "labels" in self.pairing else None,
            sums=tuple((s.over, float(s.times)) for s in self.rule.sums),
            linear=self.rule.linear,
            pair=None if pair is None else pair.name,
            include_self=self.include_self,
            first_only=self.first_only,
            finish=Finish(self.rule) if self.rule.needs_positives else None,
        )

    def _whole(self, ns: Namespace, inputs: tuple[Array, ...]) -> WholePartition | None:
        """The kernel that does all of this, if there is one."""
        kernel, _ = self.kernel(ns, inputs)
        if kernel is None or not kernel.whole:
            return None
        return WholePartition(self, ns, inputs, kernel)

    def prepared(self, ns: Namespace, inputs: tuple[Array, ...]) -> Prepared | None:
        return (
            None
            if self.first_only
            else SmallEvaluation.of(self, ns, inputs, self.rule, self.pairing, self.include_self)
        )

    def _small(self, ns: Namespace, inputs: tuple[Array, ...]) -> SmallBatch | None:
        if self.first_only:
            return None
        shape = SmallShape.of(self, ns, inputs, self.rule, self.pairing, self.include_self)
        return None if shape is None else shape.batch(ns, inputs)

    def outline(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        whole = self._whole(ns, inputs)
        n = self.parts // self.sides * ns.shape(inputs[0])[0]
        anchors = ns.shape(inputs[0])[0] if self.first_only else n
        value = (anchors,) if self.reduction.reduction == "none" else ()
        if whole is not None:
            return value, *((whole.state(n),) if any(wanted) else ())
        return value, *((n,),) * (self._saved() * self.sides)


class PartitionBatch(AnchorSet):
    """Rows in the pairing's order, which are anchors of one kind."""

    def __init__(
        self,
        settings: PartitionEvaluation,
        ns: Namespace,
        inputs: tuple[Array, ...],
        own: Block | None = None,
    ) -> None:
        self.ns, self.settings, self.rule = ns, settings, settings.rule
        self.similarity = settings.similarity
        self.own = own
        found, _ = settings.kernel(ns, inputs, own)
        self.kernel = None if found is None or found.whole else found
        self.with_pair_slope = self.kernel is not None
        self.pairing = self._pair_up(inputs)
        if self.kernel is None:
            self._prepare(inputs)
        else:
            some = settings.sort_out(ns, tuple(x[:1, ...] if x.shape else x for x in inputs))
            self.temperature = some.temperature
            self.like, self.bound = some.embeddings[0], float("inf")
        self.itemsize = ns.itemsize(self.like)
        self.guarded = exponentials_for(self.bound, self.itemsize).guarded
        self.options = settings.options_on(ns, self.like)
        best = ns.tile(settings.sides, self.pairing.n, self.like)
        self.side = tile_side(self.options, self.itemsize, best)
        self._weigh()

    def _prepare(self, inputs: tuple[Array, ...]) -> None:
        ns, given = self.ns, self.settings.sort_out(self.ns, inputs)
        self.temperature = given.temperature
        gathered = self.pairing.gather(ns, tuple(ns.matrix(z) for z in given.embeddings))
        self.sides = self.similarity.prepare(ns, gathered, self.temperature)
        self.like = self.sides[0].p
        largest = max(abs(s.times) for s in self.settings.rule.sums)
        self.bound = largest * self.similarity.bound(ns, self.sides, self.temperature)

    def _pair_up(self, inputs: tuple[Array, ...]) -> Pairing:
        # A kernel takes the rows as they are.
        if self.kernel is not None and self.settings.pairing == "labels":
            return DeviceLabels(self.ns, inputs[1])
        return pair_up(self.ns, self.settings.pairing, inputs)

    def passes(self, inputs: tuple[Array, ...], store: bool = False) -> Passes:
        """Who computes both passes: a fused kernel where one fits, or tiles."""
        if self.kernel is None:
            return self.tiling(store)
        ns, settings = self.ns, self.settings
        embeddings = tuple(ns.matrix(x) for x in inputs[: settings.parts])
        labels = (
            ns.beside(inputs[settings.parts], inputs[0]) if "labels" in settings.pairing else None
        )
        problem = settings.problem(ns, inputs, self.own)
        found = self.kernel.partition(problem, embeddings, labels, self.temperature)
        return FusedPasses(ns, settings.rule, found)

    def sums(self, passes: Passes) -> tuple[TileSums, ...]:
        return passes.forward(self.count) if isinstance(passes, FusedPasses) else accumulate(passes)

    def _counts(self, like: Array) -> Array:
        return self.pairing.counts(self.ns, like, all_pairs(self.pairing.n, self.side))

    @property
    def partnered(self) -> Partnered | None:
        """The pairing, if every anchor has one positive, which is found without tiles."""
        if self.settings.include_self == "positive" or not isinstance(self.pairing, Partnered):
            return None
        return self.pairing

    def _weigh(self) -> None:
        n, sides = self.pairing.n, self.settings.sides
        itself = 0 if self.settings.include_self or sides == 2 else 1
        if (
            isinstance(n, int)
            and n > 1 + itself
            and self.partnered
            and not self.settings.first_only
        ):
            # All anchors are alike, and numbers say of them what arrays would.
            self.count, self.counted, self.negatives = 1, None, n - 1 - itself
            self.weights = self.settings.reduction.weight(n) / sides
            return
        empty = self.ns.zeros((n,), self.like)
        count = self._counts(empty)
        if self.settings.include_self == "positive":
            count = count + 1
        first = None
        if self.settings.first_only:
            xp = self.ns.xp
            halves = xp.reshape(xp.ones_like(count), (2, -1))
            first = xp.concat([halves[0, :], xp.zeros_like(halves[1, :])], axis=0)
            first = self.pairing.arrange(self.ns, first) > 0
        rows = n if isinstance(n, int) else self.ns.xp.sum(self.ns.xp.ones_like(count))
        self.weigh(self.settings.reduction, count, rows - count - itself, sides, first)

    def tiling(self, store: bool = False) -> TileContext:
        ns, rule, options = self.ns, self.settings.rule, self.options
        plan, workers = self._plan(), ns.workers(options.workers)
        n = self.pairing.n
        side = min(self.side, n) if isinstance(n, int) else self.side
        assert options.memory is not None
        room = options.memory - (workers or 1) * _BUFFERS * side**2 * self.itemsize
        exponentials = self.exponentials
        return TileContext(
            ns=self.ns,
            rule=rule,
            similarity=self.similarity,
            sides=self.sides,
            cuts=tuple(each_once(ns, partial(rows.block, ns)) for rows in self.sides),
            plan=plan,
            relation=self.pairing,
            include_self=self.settings.include_self,
            exponentials=exponentials,
            workers=workers,
            store=TileCache(ns, plan, room, self.sides[0].p) if store else None,
            single=self.partnered is not None,
            partners=None if self.guarded else self._partners(),
        )

    @property
    def exponentials(self) -> Exponentials:
        return exponentials_for(self.bound, self.itemsize, full=self.counted is None)

    def _partners(self) -> MatchedPairs | None:
        if self.partnered is None:
            return None
        return MatchedPairs.of(self.ns, self.partnered, self.sides)

    def _plan(self) -> Plan:
        pairing = self.pairing
        if self.settings.sides == 2:
            return rectangular(pairing.n, self.side)
        if pairing.sizes is None:
            return uniform(pairing.n, self.side, pairing.together)
        return by_class(pairing.sizes, self.side)
