"""All pairs of a small batch as one matrix, in closed form.

Of few rows most time goes into beginning operations, and most of these are what tiles need: plans,
masks, sums carried along. Here the matrix is exponentiated as it stands, or less the largest logit
of each anchor where they spread too far: partners are two of its diagonals, classes a matrix of
ones and zeros. Functions of positive pairs are left to tiles, and so are classes whose logits want
a shift.

All is computed in NumPy, which sees the tensors of PyTorch on a processor where they are: it begins
an operation in a third of the time. Larger products are PyTorch's, whose threads they are.

What follows from shapes is a `SmallShape`, which serves every call of arrays like these.
"""

from dataclasses import dataclass
from math import exp
from typing import Any, NamedTuple

import numpy as np

from nearfar.evaluate.partition.anchors import NOTHING_TO_DO, AnchorSet
from nearfar.evaluate.partition.exponentials import LogSum, exponentials_for, relative
from nearfar.evaluate.partition.forward import TileSums
from nearfar.frameworks import HOST, LEAST, UNSEEN, Array, Namespace, value_and_grad
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
    blank: Array | None
    """Entries of the flat matrix that are no negatives by their place."""
    paired: Array | None
    """Where anchors, rows and then columns, meet their partners."""
    ones: Array
    """A number for each row, in the dtype that is computed in."""
    weights: Array
    """Of anchors that all count for as much."""
    several: bool
    """Whether sums are of different powers."""
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
        each = np.arange(m)
        itself = each * (m + 1)
        paired = None
        blank = None if others == m else itself
        if pairing == "views":
            paired = each * m + (each + m // 2) % m
            blank = paired if blank is None else np.concatenate((blank, paired))
        elif two:
            blank = itself
            paired = np.concatenate((itself, itself)) if both else itself
        embeddings = inputs[: settings.parts]
        dtype = ns.compute_dtype(*embeddings)
        ones = np.ones(m, f"f{ns.itemsize(ns.cast(embeddings[0][:1], dtype))}")
        weight = settings.reduction.weight(m) / (2 if both else 1)
        weights = np.full_like(ones, weight, shape=2 * m if both else m)
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
            paired=paired,
            ones=ones,
            weights=weights,
            several=len({s.times for s in rule.sums}) > 1,
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
            if not isinstance(temperature, float):
                temperature = ns.to_numpy(temperature)
        seen = tuple(map(ns.to_numpy, parts))
        together = seen[0] if len(seen) == 1 else np.concatenate(seen)
        (rows,) = similarity.prepare(HOST, (together,), temperature)
        bound = self.bound
        if bound is None:
            bound = self.times * similarity.bound(HOST, (rows,), temperature)
        guarded = exponentials_for(bound, together.itemsize).guarded
        if guarded and self.paired is None:
            return None
        return SmallBatch(self, ns, inputs, rows, temperature, guarded)


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
        with ns.host_errors():
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

    ns = HOST
    with_pair_slope = False

    def __init__(
        self,
        shape: SmallShape,
        caller: Namespace,
        inputs: tuple[Array, ...],
        together: Rows,
        temperature: Any,
        guarded: bool,
    ) -> None:
        self.shape, self.settings, self.rule = shape, shape.settings, shape.rule
        self.caller, self.inputs = caller, inputs
        self.together, self.temperature, self.guarded = together, temperature, guarded
        m, p = shape.m, together.p
        self.rows, self.columns = (p[:m], p[m:]) if shape.two else (p, p)
        self.positives: Array | None = None
        """1 where a column is another row of the row's class, else 0."""
        self.weights, self.counted = shape.weights, None
        self.some_empty = False
        """Whether an anchor has no positive or no negative."""
        if shape.paired is None:
            self._weigh_classes()
        else:
            self.count, self.negatives = 1, shape.others - 1

    def _weigh_classes(self) -> None:
        settings, shape = self.settings, self.shape
        labels = self.caller.to_numpy(self.inputs[settings.parts])
        self.positives = np.equal(labels[:, None], labels).astype(self.rows.dtype)
        self.positives.reshape(-1)[:: shape.m + 1] = 0
        count = self.positives @ shape.ones
        negatives = shape.others - count
        followed, opposed = count.min() > 0, negatives.min() > 0
        self.some_empty = not (followed and opposed)
        all_count = followed and (opposed or not self.rule.needs_negatives)
        if settings.reduction.average == "anchors" and all_count:
            self.count, self.negatives = count, negatives
        else:
            self.weigh(settings.reduction, count, negatives)

    def warn_if_none_counts(self) -> None:
        if self.counted is not None:
            self.caller.warn_if(not self.counted.any(), NOTHING_TO_DO)

    def forward(self) -> Array:
        """The value, or each anchor's, as the caller's."""
        rule, shape = self.rule, self.shape
        logits = self.caller.host_product(self.rows, self.columns.T)
        linear = None
        if shape.paired is not None:
            linear = logits.take(shape.paired)
        elif rule.linear:
            linear = HOST.dots(logits, self.positives)
        self.terms: list[_Terms] = []
        self.logs: list[LogSum] = []
        sums = self._guarded_sums if self.guarded else self._sums
        sums(logits, linear)
        if self.guarded:
            shift, _ = relative(HOST, rule.sums, tuple(self.logs))
            linear = linear - shift
        losses, self.slopes = rule.finish(
            HOST, self.anchors(TileSums(tuple(self.logs), linear, None))
        )
        losses = self.only_counted(losses)
        self.warn_if_none_counts()
        if self.settings.reduction.reduction != "none":
            found = losses @ self.weights
        else:
            found = losses * self.weights
            if shape.both:
                found = found[: shape.m] + found[shape.m :]
        return self.caller.from_host(found)

    def _sums(self, logits: Array, paired: Any) -> None:
        """Of exponentials of logits as they stand."""
        shape, ones = self.shape, self.shape.ones
        found: dict[float, tuple[Array, Any]] = {}
        for over, times in self.rule.sums:
            if shape.paired is not None and over == "positives":
                terms, total = None, np.exp(paired * times)
            else:
                if times not in found:
                    x = logits if times == 1 else logits * times
                    e = np.exp(x) if shape.several and times == 1 else np.exp(x, out=x)
                    if shape.blank is not None:
                        e.reshape(-1)[shape.blank] = 0
                    found[times] = e, None if self.positives is None else e * self.positives
                terms, positives = found[times]
                if positives is not None:
                    terms = positives if over == "positives" else terms - positives
                total = terms @ ones
                if shape.both:
                    total = np.concatenate((total, ones @ terms))
            self.terms.append(_Terms(terms))
            self.logs.append(self._log(None, total, over))

    def _guarded_sums(self, logits: Array, paired: Any) -> None:
        """Of exponentials of logits less the largest of each anchor; partners only."""
        shape, ones = self.shape, self.shape.ones
        for over, times in self.rule.sums:
            size, sign = abs(times), 1.0 if times > 0 else -1.0
            if over == "positives":
                self.terms.append(_Terms(None))
                self.logs.append(self._log(paired * sign, np.ones_like(paired), over))
                continue
            x = logits * sign
            if shape.blank is not None:
                x.reshape(-1)[shape.blank] = -np.inf
            peak = x.max(axis=1)
            e = self._less(x, peak[:, None], size)
            total, of_columns = e @ ones, None
            if shape.both:
                largest = x.max(axis=0)
                of_columns = self._less(x, largest, size)
                peak = np.concatenate((peak, largest))
                total = np.concatenate((total, ones @ of_columns))
            self.terms.append(_Terms(e, of_columns))
            self.logs.append(self._log(peak, total, over))

    def _less(self, x: Array, peak: Array, size: float) -> Array:
        x = x - peak
        return HOST.exp_beside_one_(x if size == 1 else HOST.mul_(x, size))

    def _log(self, peak: Array | None, total: Array, over: Any) -> LogSum:
        """With what a sum's slope is divided by: 1 where the sum is empty."""
        if not self.some_empty:
            return LogSum(peak, np.log(total), total)
        none = total == 0
        total[none] = 1
        log, empty = np.log(total), self.rule.empty(over)
        if empty:
            log[none] = empty
        return LogSum(peak, log, total)

    def backward(
        self, upstream: Array | None, wanted: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        settings, shape, caller = self.settings, self.shape, self.caller
        if upstream is not None:
            upstream = caller.to_numpy(upstream)
            if shape.both and upstream.ndim:
                upstream = np.concatenate((upstream, upstream))
        slopes = self.weighted(self.slopes, upstream)
        g, linear = self._pair_slopes(slopes)
        if linear is not None:
            if self.positives is not None:
                g += self.positives * (linear[:, None] + linear)
            elif shape.paired is not None:
                half = linear.shape[0] // 2
                if shape.pairing != "queries":
                    linear = linear[:half] + linear[half:]
                    if not shape.two:
                        linear = np.concatenate((linear, linear))
                g.reshape(-1)[shape.paired[: shape.m]] = linear
        pulled = caller.host_product(g, self.columns)
        if shape.two:
            pulled = np.concatenate((pulled, caller.host_product(g.T, self.rows)))
        whole, slope = settings.similarity.restore(HOST, self.together, pulled, self.temperature)
        embeddings: tuple[Array, ...] = (whole,)
        if settings.parts == 2:
            half = whole.shape[0] // 2
            embeddings = whole[:half], whole[half:]
        returned = tuple(map(caller.from_host, embeddings))
        if shape.plain:
            found = (*returned, *(None,) * (len(self.inputs) - settings.parts))
            return tuple(g if w else None for g, w in zip(found, wanted, strict=True))
        if slopes.temperature is not None:
            slope = slope + slopes.temperature.sum()
        by_temperature = (caller.from_host(slope),)
        aligned = settings.align(caller, self.inputs, wanted, returned, by_temperature)
        return tuple(settings.in_their_dtypes(caller, self.inputs, aligned))

    def _pair_slopes(self, slopes: Slopes) -> tuple[Array, Array | None]:
        """Derivatives by the logits through the sums, and for each anchor by its positives' logits.
        Of one set a pair's two logits are one. Consumes the terms."""
        shape, m = self.shape, self.shape.m
        linear, g = slopes.linear, None
        for s, terms, log, slope in zip(
            self.rule.sums, self.terms, self.logs, slopes.logs, strict=True
        ):
            slope = slope if s.times == 1 else slope * s.times
            if terms.rows is None:
                linear = slope if linear is None else linear + slope
                continue
            weight = slope / log.total
            part = terms.rows
            if terms.columns is not None:
                part = self._weighed(part, weight[:m, None])
                part += self._weighed(terms.columns, weight[m:])
            elif self.guarded:
                part = self._weighed(part, weight[:, None])
                part = part if shape.two else part + part.T
            elif not shape.two:
                part *= weight[:, None] + weight
            elif shape.both:
                part *= weight[:m, None] + weight[m:]
            else:
                part *= weight[:, None]
            if g is None:
                g = part
            else:
                g += part
        return (np.zeros((m, m), self.rows.dtype) if g is None else g), linear

    def _weighed(self, e: Array, weight: Array) -> Array:
        """Each times its anchor's weight, but 0 where that would be too small to be a normal
        number: see `LEAST`."""
        least, weights = LEAST[e.itemsize], np.abs(weight)
        if not weights.min() > least / exp(UNSEEN[e.itemsize]):
            e = HOST.relu_(HOST.sub_(e, least / np.maximum(weights, least)))
        return HOST.mul_(e, weight)
