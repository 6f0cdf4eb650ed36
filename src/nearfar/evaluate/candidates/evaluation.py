"""Value and gradient of a partition rule whose candidates come in several sets.

These are the batch, a reference, each query's own negatives, a queue. A walk over tiles takes
anchors past one of them, and all walks of a batch add to the same sums (see `TileContext`). Some
candidates are left out, some have offsets on their logits.
"""

from dataclasses import dataclass
from typing import Any, Literal

from nearfar.evaluate.candidates.batch import CandidateBatch
from nearfar.evaluate.candidates.graded import Grading
from nearfar.evaluate.partition.anchors import AnchorSet
from nearfar.evaluate.partition.backward import vjp
from nearfar.evaluate.partition.forward import TileSums, accumulate
from nearfar.evaluate.settings import Settings
from nearfar.evaluate.threshold import Threshold
from nearfar.frameworks import Array, Block, Namespace, Problem, Residuals
from nearfar.rules import PartitionRule, Slopes

Meeting = Literal["views", "sides", "labels", "queries", "graded"]

_NOTHING_TO_DO = (
    "no anchor of this batch has a positive (or every denominator is empty): the loss is 0 and has "
    "no gradient; give batches, or references, with more rows of a class and more than one class"
)

# What a call may have and take a kernel.
_PLAIN = ("embeddings", "labels", "a", "b", "x", "y", "query", "positive")


@dataclass(frozen=True, kw_only=True)
class CandidateEvaluation(Settings):
    """Who is compared with whom, by `meeting`:

    - "labels": rows with the batch, a reference or `both`;
    - "views": the rows of two views, with each other;
    - "sides": the rows of two sides, with the other side;
    - "queries": in `directions`, the batch and further negatives;
    - "graded": the rows with each other, all of them positives by degrees.
    """

    rule: PartitionRule
    meeting: Meeting
    include_self: bool | str = False
    first_only: bool = False
    both: bool = False
    same: str = "negative"
    """What equal ids mean: "positive", "ignore", "negative"."""
    threshold: Threshold | None = None
    grading: Grading | None = None
    in_batch: bool = True
    """Whether other rows' positives are negatives of a query."""
    own: str = "mine"
    """Whom negatives (N, K, d) serve: "mine", "all"."""
    directions: tuple[str, ...] = ("qp",)
    joint: bool = True
    """Whether all directions are one sum."""
    without_positive: PartitionRule | None = None
    """The rule of sums in which the positive has no part."""

    def forward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        keep = residuals is not None and any(wanted)
        batch = CandidateBatch(self, ns, inputs, wanted, store=keep)
        seen = accumulate(*batch.walks)
        finished = [
            s.rule.finish(ns, s.anchors(found)) for s, found in zip(batch.sets, seen, strict=True)
        ]
        if residuals is not None and keep:
            residuals.leave((batch, seen, [slopes for _, slopes in finished]))
        losses = [s.only_counted(loss) for s, (loss, _) in zip(batch.sets, finished, strict=True)]
        counted = [ns.xp.any(s.counted) for s in batch.sets]
        ns.warn_if(~ns.xp.any(ns.xp.stack(counted)), _NOTHING_TO_DO)
        saved = [self._padded(ns, s, found) for s, found in zip(batch.sets, seen, strict=True)]
        parts = zip(batch.sets, losses, strict=True)
        if self.reduction.reduction == "none":
            each = [s.restore(s.weights * loss) for s, loss in parts]
        else:
            each = [ns.weighted_sum(loss, s.weights) for s, loss in parts]
        value = sum(each[1:], each[0])
        return value, tuple(x for some in saved for x in some)

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array | None,
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> tuple[Array | None, ...]:
        batch, seen, own = (residuals and residuals.take()) or self._again(
            ns, inputs, saved, wanted
        )
        each = self.reduction.reduction == "none"
        slopes = tuple(
            s.weighted(x, s.arrange(upstream) if each else upstream)
            for s, x in zip(batch.sets, own, strict=True)
        )
        by_temperature = [ns.xp.sum(s.temperature) for s in slopes if s.temperature is not None]
        gradients = vjp(batch.walks, seen, slopes)
        embeddings, slope = batch.sides.restore(gradients)
        slope = sum(by_temperature, slope)
        aligned = self.align(ns, inputs, wanted, embeddings, (slope,))
        return self.in_their_dtypes(ns, inputs, aligned)

    def _again(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> tuple[CandidateBatch, tuple[TileSums, ...], list[Slopes]]:
        """What the forward pass knew, from what it saved."""
        batch = CandidateBatch(self, ns, inputs, wanted)
        size = self._saved()
        seen = tuple(
            s.recalled(iter(saved[k * size : (k + 1) * size])) for k, s in enumerate(batch.sets)
        )
        slopes = [
            s.rule.finish(ns, s.anchors(found))[1]
            for s, found in zip(batch.sets, seen, strict=True)
        ]
        return batch, seen, slopes

    def idle(self, ns: Namespace, inputs: tuple[Array, ...]) -> Array:
        """True for anchors whose loss does not depend on their negatives, though they have some."""
        batch = CandidateBatch(self, ns, inputs, (False,) * len(inputs))
        seen = accumulate(*batch.walks)
        (anchors,) = batch.sets
        _, slopes = anchors.rule.finish(ns, anchors.anchors(seen[0]))
        return anchors.restore((slopes.logs[0] == 0) & (anchors.negatives > 0))

    def _padded(self, ns: Namespace, anchors: AnchorSet, seen: TileSums) -> list[Array]:
        """As many arrays as there may be: a compiled program is told their number beforehand."""
        found = list(anchors.flattened(seen))
        # Not the same array twice: compiled programs refuse outputs that share memory.
        missing = self._saved() - len(found)
        return found + [ns.xp.zeros_like(found[0]) for _ in range(missing)]

    def _saved(self) -> int:
        rule, pair = self.rule, self.rule.pair
        return 2 * len(rule.sums) + rule.linear + (0 if pair is None else 1 + pair.log)

    def problem(self, ns: Namespace, inputs: tuple[Array, ...], own: Block | None) -> Problem | str:
        # "log_q.0" is of the first array that was given as log_q.
        given = dict.fromkeys(name.partition(".")[0] for name in self.names)
        more = [name for name in given if name not in _PLAIN]
        if self.threshold is not None:
            more.append("exclude")
        if self.meeting == "queries":
            more.append(f"directions {', '.join(self.directions)}")
        return f"there are no fused kernels for a call with {', '.join(more) or 'uneven sides'}"

    def outline(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        rows = [ns.shape(x)[0] for x in inputs[:2]]
        sizes = {
            "labels": rows[:1],
            "graded": rows[:1],
            "views": [2 * rows[0]],
            "sides": rows,
            "queries": rows[:1] * (1 if self.joint else len(self.directions)),
        }[self.meeting]
        anchors = rows[0] if self.first_only or self.meeting != "views" else sizes[0]
        value = (anchors,) if self.reduction.reduction == "none" else ()
        return value, *((n,) for n in sizes for _ in range(self._saved()))
