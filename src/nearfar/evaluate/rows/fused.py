"""The one pass of a loss of queries by a fused kernel, in the words of the evaluators."""

from typing import Any

from nearfar.evaluate.rows.evaluation import Found, RowBatch
from nearfar.frameworks import Array, Block, Kernel, Namespace


class FusedQueries(RowBatch):
    def __init__(
        self,
        settings: Any,
        ns: Namespace,
        inputs: tuple[Array, ...],
        needs_grad: tuple[bool, ...],
        kernel: Kernel,
        own: Block | None,
    ) -> None:
        self.ns, self.settings, self.rule = ns, settings, settings.rule
        self.inputs, self.wanted = inputs, needs_grad
        some = settings.sort_out(ns, tuple(x[:1, ...] if x.shape else x for x in inputs))
        bias = some.bias if len(settings.parameters) == 2 else 0.0
        self._pass = kernel.queries(
            settings.problem(ns, inputs, own), inputs[: settings.parts], some.temperature, bias
        )
        self.one = ns.zeros((ns.shape(inputs[0])[0],), some.embeddings[0]) + 1

    def run(self, weights: Array | None) -> Found:
        losses, gradients, *slopes = self._pass.run(weights)
        if weights is None:
            return Found(losses, None, (None,) * len(self.inputs))
        aligned = self.settings.align(self.ns, self.inputs, self.wanted, gradients, tuple(slopes))
        return Found(losses, None, aligned)
