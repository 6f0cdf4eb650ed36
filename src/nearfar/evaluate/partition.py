"""Value and gradient of a partition rule on one set of embeddings."""

from dataclasses import dataclass
from typing import Any

from nearfar.evaluate.options import Options
from nearfar.evaluate.passes import Passes, Seen
from nearfar.evaluate.plan import all_pairs, by_class, tile_side, uniform
from nearfar.evaluate.protocol import Anchors, PartitionRule, Slopes
from nearfar.evaluate.reduction import Reduction
from nearfar.evaluate.tiles import exponentials_for
from nearfar.frameworks import Array, Namespace
from nearfar.pairing import Pairing, PairingKind, pair_up
from nearfar.similarity import SIMILARITIES, Rows, Similarity

_NOTHING_TO_DO = (
    "no anchor of this batch has a positive (or every denominator is empty): the loss is 0 and has "
    "no gradient; give batches with at least two rows of a class and more than one class"
)


@dataclass(frozen=True)
class PartitionEvaluation:
    """Value and gradient of a partition rule on one set of embeddings."""

    rule: PartitionRule
    similarity: str
    pairing: PairingKind
    parts: int
    """How many of the inputs are embeddings."""
    temperature: float | None
    """None: it is the last of the inputs."""
    reduction: Reduction
    include_self: bool
    options: Options

    def forward(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        batch = _Batch(self, ns, inputs)
        (seen,) = batch.passes().see()
        loss, _ = self.rule.finish(ns, batch.anchors(seen))
        loss = batch.weights * ns.xp.where(batch.counted, loss, ns.xp.zeros_like(loss))
        ns.warn_if(~ns.xp.any(batch.counted), _NOTHING_TO_DO)
        saved = tuple(x for x in (*seen.logs, seen.linear, seen.pair) if x is not None)
        if self.reduction.reduction == "none":
            return batch.pairing.restore(ns, loss), saved
        return ns.xp.sum(loss), saved

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array,
        wanted: tuple[bool, ...],
    ) -> tuple[Array | None, ...]:
        batch = _Batch(self, ns, inputs)
        seen = self._recall(saved)
        if self.reduction.reduction == "none":
            upstream = batch.pairing.arrange(ns, upstream)
        _, slopes = self.rule.finish(ns, batch.anchors(seen))
        slopes = batch.weighted(slopes, upstream)
        (gradient,) = batch.passes().gradient((seen,), (slopes,))
        z, slope = batch.similarity.restore(ns, batch.rows, gradient, batch.temperature)
        found = (*batch.pairing.scatter(ns, z), *(None,) * (len(inputs) - self.parts))
        if self.temperature is None:
            found = (*found[:-1], slope)
        return tuple(
            ns.cast(ns.xp.reshape(g, ns.shape(x)), x.dtype) if w and g is not None else None
            for g, x, w in zip(found, inputs, wanted, strict=True)
        )

    def outline(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        n = self.parts * ns.shape(inputs[0])[0]
        saved = len(self.rule.sums) + self.rule.linear + (self.rule.pair is not None)
        return (((n,) if self.reduction.reduction == "none" else ()), *((n,),) * saved)

    def _recall(self, saved: tuple[Array, ...]) -> Seen:
        found = iter(saved)
        logs = tuple(next(found) for _ in self.rule.sums)
        linear = next(found) if self.rule.linear else None
        return Seen(logs, linear, next(found) if self.rule.pair else None)


class _Batch:
    """Rows in the pairing's order, and the weights of their anchors."""

    def __init__(
        self, settings: PartitionEvaluation, ns: Namespace, inputs: tuple[Array, ...]
    ) -> None:
        self.ns, self.settings = ns, settings
        parts = inputs[: settings.parts]
        dtype = ns.compute_dtype(*parts)
        self.temperature: Any = settings.temperature
        if self.temperature is None:
            self.temperature = ns.cast(inputs[-1], dtype)
        self.pairing: Pairing = pair_up(ns, settings.pairing, inputs)
        self.similarity: Similarity = SIMILARITIES[settings.similarity]
        flat = tuple(ns.cast(ns.matrix(z), dtype) for z in parts)
        gathered = self.pairing.gather(ns, flat)
        self.rows: Rows
        (self.rows,) = self.similarity.prepare(ns, (gathered,), self.temperature)
        self.side = tile_side(settings.options, ns.itemsize(self.rows.p))
        self._weigh()

    def _weigh(self) -> None:
        n, rule = self.pairing.n, self.settings.rule
        empty = self.ns.zeros((n,), self.rows.p)
        self.count = self.pairing.counts(self.ns, empty, all_pairs(n, self.side))
        self.counted = self.count > 0
        if rule.needs_negatives:
            rows = self.ns.xp.sum(self.ns.xp.ones_like(self.count))
            negatives = rows - self.count - (0 if self.settings.include_self else 1)
            self.counted = self.counted & (negatives > 0)
        self.weights = self.settings.reduction.weights(self.ns, self.count, self.counted)

    def passes(self) -> Passes:
        rule, options = self.settings.rule, self.settings.options
        plan = (
            uniform(self.pairing.n, self.side, self.pairing.together)
            if self.pairing.sizes is None
            else by_class(self.pairing.sizes, self.side)
        )
        bound = self.similarity.bound(self.ns, (self.rows,), self.temperature)
        times = max(abs(s.times) for s in rule.sums)
        return Passes(
            ns=self.ns,
            rule=rule,
            similarity=self.similarity,
            sides=(self.rows,),
            plan=plan,
            same=lambda i, j: self.pairing.same(self.ns, i, j),
            include_self=self.settings.include_self,
            exponentials=exponentials_for(bound * times, self.ns.itemsize(self.rows.p)),
            workers=options.workers,
        )

    def anchors(self, seen: Seen) -> Anchors:
        at_least_one = self.ns.xp.where(self.counted, self.count, self.ns.xp.ones_like(self.count))
        return Anchors(*seen, count=at_least_one, single=self.count == 1)

    def weighted(self, slopes: Slopes, upstream: Array) -> Slopes:
        xp = self.ns.xp
        weights = self.weights * upstream

        def one(slope: Array | None) -> Array | None:
            if slope is None:
                return None
            # An anchor that does not count may have an infinite slope: selected, not multiplied.
            return xp.where(self.counted, slope * weights, xp.zeros_like(slope))

        return Slopes(tuple(one(s) for s in slopes.logs), one(slopes.linear), one(slopes.pair))
