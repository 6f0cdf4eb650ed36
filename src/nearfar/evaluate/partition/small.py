"""All pairs of a small batch as one matrix, in closed form.

Of few rows most time goes into beginning operations, and most of these are what tiles need: plans,
masks, sums carried along. Here the matrix is exponentiated as it stands, or less the largest logit
of each anchor where they spread too far: partners are two of its diagonals, classes a matrix of
ones and zeros. Functions of positive pairs are left to tiles, and so are classes whose logits want
a shift.

What follows from shapes is a `SmallShape`, which serves every call of arrays like these.
"""

from dataclasses import dataclass
from math import exp
from typing import Any, NamedTuple

import numpy as np

from nearfar.evaluate.partition.anchors import AnchorSet
from nearfar.evaluate.partition.exponentials import LogSum, exponentials_for, relative
from nearfar.evaluate.partition.forward import TileSums
from nearfar.frameworks import LEAST, UNSEEN, Array, Namespace, Strided, value_and_grad
from nearfar.rules import PartitionRule, Slopes
from nearfar.similarity import Cosine, Dot, Rows

# Rows and columns up to which the matrix, and what is made of it, stay in cache.
_MOST = 256


@dataclass(frozen=True)
class SmallShape:
    """What is known of a small batch before its values."""

    settings: Any
    rule: PartitionRule
    pairing: str
    m: int
    """Rows of the matrix."""
    two: bool
    """Whether its columns are another set."""
    both: bool
    """Whether those are anchors too."""
    others: int
    """How many columns an anchor meets."""
    blank: Strided | None
    """What is no negative by its place."""
    partners: Strided | None
    """Where a row meets its partner."""
    paired: Strided | None
    """The same for each anchor, rows and then columns."""
    weights: Array | None
    """Of the anchors, where all are alike."""
    times: float
    """The largest factor of a logit."""
    bound: float | None
    """On each of these logits, where it is known before there are rows."""
    plain: bool
    """Whether embeddings are matrices in the dtype that they are computed in, and nothing else gets
    a gradient."""

    @classmethod
    def of(
        cls,
        settings: Any,
        ns: Namespace,
        inputs: tuple[Array, ...],
        rule: PartitionRule | None,
        pairing: str,
        include_self: bool | str = False,
    ) -> "SmallShape | None":
        """None where the batch is large, or wants what tiles do.

        `pairing`: "views", "matched" (two sides), "queries" (of the first of two sides), "labels".
        """
        similarity, options = settings.similarity, settings.options
        m = inputs[0].shape[0] * (2 if pairing == "views" else 1)
        two, both = pairing in ("matched", "queries"), pairing == "matched"
        others = m if two or include_self else m - 1
        if (
            rule is None
            or not 1 < others <= _MOST
            or not ns.in_place
            or pairing not in ("views", "matched", "queries", "labels")
            or type(similarity) not in (Cosine, Dot)
            or rule.pair is not None
            or options.tile is not None
            or options.memory is not None
            or include_self == "positive"
            or ns.accelerated(inputs[0])
            or settings.kernel(ns, inputs)[0] is not None
        ):
            return None
        partners = paired = weights = None
        step, half = m + 1, m // 2
        blank = None if others == m else Strided(0, (m,), (step,))
        if pairing == "views":
            partners = paired = Strided(half, (2, half), (half * m - half, step))
            # The diagonals of four blocks, of which partners are two.
            blank = Strided(0, (2, 2, half), (half * m, half, step)) if blank else partners
        elif two:
            blank = partners = paired = Strided(0, (m,), (step,))
            if both:
                paired = Strided(0, (2, m), (0, step))
        embeddings = inputs[: settings.parts]
        dtype = ns.compute_dtype(*embeddings)
        if partners is not None:
            each, n = settings.reduction.weight(m), m
            if both:
                each, n = each / 2, 2 * m
            weights = ns.asarray(np.full(n, each), inputs[0], dtype)
        times = max([abs(s.times) for s in rule.sums], default=1.0)
        known = settings.parameters[0] if settings.parameters else 1.0
        bound = None
        if type(similarity) is Cosine and known is not None:
            bound = times * similarity.bound(ns, (), known)
        plain = None not in settings.parameters and all(
            x.dtype == dtype and len(x.shape) == 2 for x in embeddings
        )
        return cls(
            settings=settings,
            rule=rule,
            pairing=pairing,
            m=m,
            two=two,
            both=both,
            others=others,
            blank=blank,
            partners=partners,
            paired=paired,
            weights=weights,
            times=times,
            bound=bound,
            plain=plain,
        )

    def batch(self, ns: Namespace, inputs: tuple[Array, ...]) -> "SmallBatch | None":
        """None where logits of classes want a shift."""
        settings = self.settings
        similarity = settings.similarity
        if self.plain:
            parts = inputs[: settings.parts]
            temperature = settings.parameters[0] if settings.parameters else 1.0
        else:
            given = settings.sort_out(ns, inputs)
            parts, temperature = tuple(map(ns.matrix, given.embeddings)), given.temperature
        together = parts[0] if len(parts) == 1 else ns.xp.concat(parts, axis=0)
        sides = similarity.prepare(ns, (together,), temperature)
        bound = self.bound
        if bound is None:
            bound = self.times * similarity.bound(ns, sides, temperature)
        guarded = exponentials_for(bound, ns.itemsize(together)).guarded
        if guarded and self.partners is None:
            return None
        return SmallBatch(self, ns, inputs, sides[0], temperature, guarded)


@dataclass(frozen=True)
class SmallEvaluation:
    """Values and gradients of small batches of one shape."""

    evaluation: Any
    shape: SmallShape

    @classmethod
    def of(
        cls,
        evaluation: Any,
        ns: Namespace,
        inputs: tuple[Array, ...],
        rule: PartitionRule | None,
        pairing: str,
        include_self: bool | str = False,
    ) -> "SmallEvaluation | None":
        """None too where an upstream gradient has to come first: it is a vector, or the gradient is
        rounded to fewer digits."""
        parts = inputs[: evaluation.parts]
        dtype = ns.compute_dtype(*parts)
        learned = inputs[len(inputs) - evaluation.parameters.count(None) :]
        narrow = any(x.dtype not in (dtype, ns.xp.float64) for x in (*parts, *learned))
        if evaluation.reduction.reduction == "none" or narrow:
            return None
        shape = SmallShape.of(evaluation, ns, inputs, rule, pairing, include_self)
        return None if shape is None else cls(evaluation, shape)

    def value_and_grad(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        small = self.shape.batch(ns, inputs)
        if small is None:
            return value_and_grad(ns, self.evaluation, inputs, wanted)
        value = small.forward()
        return value, small.backward(None, wanted) if any(wanted) else (None,) * len(inputs)


class _Terms(NamedTuple):
    """exp(times * logit) of the members of a sum, the matrix once for rows as anchors and, where
    the columns' have another shift, once for them; None: of partners alone."""

    rows: Array | None
    columns: Array | None = None


class SmallBatch(AnchorSet):
    """Its anchors are all rows, and of two sides that both have some then all columns."""

    with_pair_slope = False

    def __init__(
        self,
        shape: SmallShape,
        ns: Namespace,
        inputs: tuple[Array, ...],
        together: Rows,
        temperature: Any,
        guarded: bool,
    ) -> None:
        self.ns, self.shape, self.settings, self.rule = ns, shape, shape.settings, shape.rule
        self.inputs, self.together, self.temperature = inputs, together, temperature
        self.guarded = guarded
        m, p = shape.m, together.p
        self.rows, self.columns = (p[:m], p[m:]) if shape.two else (p, p)
        self.positives: Array | None = None
        """1 where a column is another row of the row's class, else 0."""
        if shape.partners is None:
            self._weigh_classes()
        else:
            self.count, self.counted, self.negatives = 1, None, shape.others - 1
            self.weights = shape.weights

    def _weigh_classes(self) -> None:
        ns, settings, shape = self.ns, self.settings, self.shape
        labels = self.inputs[settings.parts]
        self.positives = ns.cast(labels[:, None] == labels[None, :], self.rows.dtype)
        ns.set_strided_(self.positives, Strided(0, (shape.m,), (shape.m + 1,)), 0)
        count = ns.row_sums(self.positives)
        self.weigh(settings.reduction, count, shape.others - count)

    def forward(self) -> Array:
        """The value, or each anchor's."""
        ns, rule, shape = self.ns, self.rule, self.shape
        logits = self.rows @ self.columns.T
        linear = None
        if shape.paired is not None:
            linear = ns.copied_strided(logits, shape.paired)
        elif rule.linear:
            linear = ns.row_sums(logits * self.positives)
        self.terms: list[_Terms] = []
        self.logs: list[LogSum] = []
        sums = self._guarded_sums if self.guarded else self._sums
        sums(logits, linear)
        if self.guarded:
            shift, _ = relative(ns, rule.sums, tuple(self.logs))
            linear = linear - shift
        seen = TileSums(tuple(self.logs), linear, None)
        losses, self.slopes = rule.finish(ns, self.anchors(seen))
        losses = self.only_counted(losses)
        self.warn_if_none_counts()
        if self.settings.reduction.reduction != "none":
            return losses @ self.weights
        losses = losses * self.weights
        return losses[: shape.m] + losses[shape.m :] if shape.both else losses

    def _sums(self, logits: Array, paired: Any) -> None:
        """Of exponentials of logits as they stand."""
        ns, shape, sums = self.ns, self.shape, self.rule.sums
        several = len({s.times for s in sums}) > 1
        found: dict[float, tuple[Array, Any]] = {}
        for over, times in sums:
            if shape.partners is not None and over == "positives":
                terms, total = None, ns.xp.exp(paired * times)
            else:
                if times not in found:
                    x = logits if times == 1 else logits * times
                    e = ns.xp.exp(x) if several and times == 1 else ns.exp_(x)
                    if shape.blank is not None:
                        ns.set_strided_(e, shape.blank, 0)
                    found[times] = e, None if self.positives is None else e * self.positives
                terms, positives = found[times]
                if positives is not None:
                    terms = positives if over == "positives" else terms - positives
                total = ns.row_sums(terms)
                if shape.both:
                    total = ns.xp.concat((total, ns.column_sums(terms)), axis=0)
            self.terms.append(_Terms(terms))
            self.logs.append(self._log(None, total, over))

    def _guarded_sums(self, logits: Array, paired: Any) -> None:
        """Of exponentials of logits less the largest of each anchor; partners only."""
        ns, shape, xp = self.ns, self.shape, self.ns.xp
        for over, times in self.rule.sums:
            size, sign = abs(times), 1.0 if times > 0 else -1.0
            if over == "positives":
                self.terms.append(_Terms(None))
                self.logs.append(self._log(paired * sign, xp.ones_like(paired), over))
                continue
            x = logits * sign
            if shape.blank is not None:
                ns.set_strided_(x, shape.blank, -float("inf"))
            peak = xp.max(x, axis=1)
            e = self._less(x, peak[:, None], size)
            total, of_columns = ns.row_sums(e), None
            if shape.both:
                largest = xp.max(x, axis=0)
                of_columns = self._less(x, largest, size)
                peak = xp.concat((peak, largest), axis=0)
                total = xp.concat((total, ns.column_sums(of_columns)), axis=0)
            self.terms.append(_Terms(e, of_columns))
            self.logs.append(self._log(peak, total, over))

    def _less(self, x: Array, peak: Array, size: float) -> Array:
        ns = self.ns
        x = x - peak
        return ns.exp_beside_one_(x if size == 1 else ns.mul_(x, size))

    def _log(self, peak: Array | None, total: Array, over: Any) -> LogSum:
        """With what a sum's slope is divided by: 1 where the sum is empty."""
        ns = self.ns
        if self.counted is None:
            return LogSum(peak, ns.xp.log(total), total)
        none = total == 0
        total = ns.fill_(total, none, 1)
        empty = self.rule.empty(over)
        log = ns.xp.log(total)
        return LogSum(peak, ns.fill_(log, none, empty) if empty else log, total)

    def backward(
        self, upstream: Array | None, wanted: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        ns, settings, shape = self.ns, self.settings, self.shape
        if shape.both and upstream is not None and upstream.ndim:
            upstream = ns.xp.concat((upstream, upstream), axis=0)
        slopes = self.weighted(self.slopes, upstream)
        g, linear = self._pair_slopes(slopes)
        if self.positives is not None and linear is not None:
            g = ns.add_(g, self.positives * (linear[:, None] + linear))
        elif shape.partners is not None and linear is not None:
            half = linear.shape[0] // 2
            pulls = linear if shape.pairing == "queries" else linear[:half] + linear[half:]
            ns.set_strided_(g, shape.partners, pulls)
        pulled = g @ self.columns
        if shape.two:
            pulled = ns.xp.concat((pulled, g.T @ self.rows), axis=0)
        whole, slope = settings.similarity.restore(ns, self.together, pulled, self.temperature)
        embeddings: tuple[Array, ...] = (whole,)
        if settings.parts == 2:
            half = whole.shape[0] // 2
            embeddings = whole[:half], whole[half:]
        if shape.plain:
            found = (*embeddings, *(None,) * (len(self.inputs) - settings.parts))
            return tuple(g if w else None for g, w in zip(found, wanted, strict=True))
        if slopes.temperature is not None:
            slope = slope + ns.xp.sum(slopes.temperature)
        aligned = settings.align(ns, self.inputs, wanted, embeddings, (slope,))
        return tuple(settings.in_their_dtypes(ns, self.inputs, aligned))

    def _pair_slopes(self, slopes: Slopes) -> tuple[Array, Array | None]:
        """Derivatives by the logits through the sums, and for each anchor by its positives' logits.
        Of one set a pair's two logits are one. Consumes the terms."""
        ns, shape, m = self.ns, self.shape, self.shape.m
        linear, g = slopes.linear, None
        for s, terms, log, slope in zip(
            self.rule.sums, self.terms, self.logs, slopes.logs, strict=True
        ):
            slope = slope if s.times == 1 else slope * s.times
            if terms.rows is None:
                linear = slope if linear is None else linear + slope
                continue
            weight = slope / log.total
            if terms.columns is not None:
                part = self._weighed(terms.rows, weight[:m, None])
                part = ns.add_(part, self._weighed(terms.columns, weight[m:]))
            elif self.guarded:
                part = self._weighed(terms.rows, weight[:, None])
                part = part if shape.two else part + part.T
            elif not shape.two:
                part = ns.mul_(terms.rows, weight[:, None] + weight)
            elif shape.both:
                part = ns.mul_(terms.rows, weight[:m, None] + weight[m:])
            else:
                part = ns.mul_(terms.rows, weight[:, None])
            g = part if g is None else ns.add_(g, part)
        return (ns.zeros((m, m), self.rows) if g is None else g), linear

    def _weighed(self, e: Array, weight: Array) -> Array:
        """Each times its anchor's weight, but 0 where that would be too small to be a normal
        number: see `LEAST`."""
        ns, xp, size = self.ns, self.ns.xp, self.ns.itemsize(e)
        least, weights = LEAST[size], xp.abs(weight)
        if not float(xp.min(weights)) > least / exp(UNSEEN[size]):
            e = ns.relu_(ns.sub_(e, least / xp.maximum(weights, xp.full_like(weights, least))))
        return ns.mul_(e, weight)
