"""Evaluations by kernels that do all of it: sums, the rule's `finish`, weights and the gradient.

What is O(n) costs a launch an operation where arrays do it, which for small batches is most of the
time. Such a kernel is given the rule's `finish` to compile, and the numbers the reduction needs.
"""

from typing import Any, NamedTuple

from nearfar.frameworks import Array, Namespace, Residuals
from nearfar.rules import Anchors, EachPair

Saved = tuple[Array, ...]
Gradients = tuple[Array | None, ...]


class Finish(NamedTuple):
    """A rule's `finish` over what is known of anchors by name."""

    rule: Any

    def __call__(self, ns: Any, known: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        logs = (known["log0"], known["log1"])[: len(self.rule.sums)]
        names = ("linear", "pair", "count", "negatives", "temperature")
        return self.rule.finish(ns, Anchors(logs, *(known[name] for name in names)))  # type: ignore[no-any-return]


class Whole:
    """One call of one kernel, by the settings of its evaluation."""

    def __init__(
        self, settings: Any, ns: Namespace, inputs: tuple[Array, ...], kernel: Any
    ) -> None:
        self.settings, self.ns, self.inputs, self.kernel = settings, ns, inputs, kernel
        self.problem: Any = settings.problem(ns, inputs, None)
        self.embeddings = tuple(ns.matrix(z) for z in inputs[: settings.parts])
        learned = iter(inputs[len(inputs) - sum(p is None for p in settings.parameters) :])
        dtype = ns.compute_dtype(inputs[0])
        self.parameters = [
            ns.cast(next(learned), dtype) if p is None else p for p in settings.parameters
        ]
        memory = settings.options_on(ns, inputs[0]).memory
        assert memory is not None
        self.memory = memory
        self.each = settings.reduction.reduction == "none"

    def partition(self, labels: Array | None, vectors: Array | None) -> Any:
        return self.kernel.partition(
            self.problem, self.embeddings, labels, self.parameters[0], self.memory, vectors
        )

    def by_temperature(self, batch: Any, upstream: Array | None) -> Array | None:
        learned = self.settings.parameters[0] is None
        return batch.by_temperature(upstream) if learned else None


class WholePartition(Whole):
    def state(self, n: Any) -> tuple[Any, ...]:
        """Shape of what is saved for n rows a side."""
        shape: tuple[Any, ...] = self.kernel.state(self.problem, n)
        return shape

    def _batch(self, vectors: Array | None = None) -> Any:
        labels = None
        if self.settings.pairing == "labels":
            labels = self.ns.beside(self.inputs[1], self.inputs[0])
        return self.partition(labels, vectors)

    def forward(
        self, needs_grad: tuple[bool, ...], residuals: Residuals | None
    ) -> tuple[Array, Saved]:
        batch = self._batch()
        value = batch.forward(Finish(self.settings.rule), *self._weights(batch), self.each)
        if not any(needs_grad):
            return value, ()
        if residuals is not None:
            residuals.leave(batch)
        return value, (batch.vectors,)

    def backward(
        self,
        saved: Saved,
        upstream: Array | None,
        needs_grad: tuple[bool, ...],
        residuals: Residuals | None,
    ) -> Gradients:
        batch = (residuals and residuals.take()) or self._batch(saved[0])
        found = batch.backward(upstream, self.each)
        slope = self.by_temperature(batch, upstream)
        aligned: Gradients = self.settings.align(self.ns, self.inputs, needs_grad, found, (slope,))
        return aligned

    def _weights(self, batch: Any) -> tuple[Any, float]:
        """Of the anchors, and how many rows an anchor may have for negatives: those that are not
        its positives, which with labels are left to be taken off."""
        e = self.settings
        two = e.pairing == "matched"
        others = batch.n - (0 if e.include_self or two else 1)
        if e.pairing != "labels":
            idle = e.rule.needs_negatives and others <= 1
            weight = 0.0 if idle else e.reduction.weight(batch.n // (1 + e.first_only))
            return weight / (1 + two), others - 1
        by = e.reduction
        weights = batch.weights_by_labels(
            others,
            by.scale,
            mean=by.reduction == "mean",
            pairs=by.average == "pairs",
            zero=by.average == "anchors" and by.without_positives == "zero",
            negatives=e.rule.needs_negatives,
        )
        return weights, others


class WholeQueries(Whole):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.sigmoid = isinstance(self.settings.rule, EachPair)

    def _run(self, upstream: Array | None, pulls: bool) -> tuple[Any, Array]:
        """The batch, and the value or each query's loss."""
        weight = self.settings.reduction.weight(self.embeddings[0].shape[0])
        if not self.sigmoid:
            batch = self.partition(None, None)
            return batch, batch.forward(self.problem.finish, weight, 0.0, self.each)
        t, bias = self.parameters
        batch = self.kernel.sigmoid(self.problem, self.embeddings, t, self.memory)
        losses = batch.run(bias, weight, upstream, pulls)
        return batch, losses.sum(0) if self.each else losses.sum()

    def forward(
        self, needs_grad: tuple[bool, ...], residuals: Residuals | None
    ) -> tuple[Array, Saved]:
        now = any(needs_grad) and not self.each
        batch, value = self._run(None, now)
        if not now:
            return value, ()
        if residuals is not None:
            residuals.leave(batch)
            return value, ()
        dtype = self.ns.compute_dtype(self.inputs[0])
        found = self._gradients(batch, None, needs_grad, dtype)
        return value, tuple(g for g in found if g is not None)

    def backward(
        self,
        saved: Saved,
        upstream: Array | None,
        needs_grad: tuple[bool, ...],
        residuals: Residuals | None,
    ) -> Gradients:
        if saved:
            rest = iter(saved if upstream is None else [g * upstream for g in saved])
            return tuple(
                self.ns.cast(next(rest), x.dtype) if need else None
                for x, need in zip(self.inputs, needs_grad, strict=True)
            )
        batch = residuals and residuals.take()
        if not batch:
            batch, _ = self._run(upstream if self.each else None, True)
        above = None if self.each and self.sigmoid else upstream
        return self._gradients(batch, above, needs_grad, None)

    def _gradients(
        self, batch: Any, upstream: Array | None, needs_grad: tuple[bool, ...], dtype: Any
    ) -> Gradients:
        slopes = []
        if self.sigmoid:
            found = batch.gradients(upstream, dtype)
            learned = self.settings.parameters[1] is None
            slopes.append(batch.by_bias(upstream) if learned else None)
        else:
            found = batch.backward(upstream, self.each, dtype)
        slopes.insert(0, self.by_temperature(batch, upstream))
        aligned: Gradients = self.settings.align(
            self.ns, self.inputs, needs_grad, found, tuple(slopes)
        )
        return aligned
