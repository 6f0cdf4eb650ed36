"""The launches of losses of queries: SigLIP, whose pairs each have a loss of their own."""

import torch

from nearfar.frameworks.triton.kernels.sigmoid import pull_sigmoid
from nearfar.frameworks.triton.launch import on
from nearfar.frameworks.triton.partition import BUSY, Batch
from nearfar.frameworks.triton.problem import cdiv


class SigmoidBatch(Batch):
    """Two sides whose rows are matched."""

    def run(
        self, bias: float | torch.Tensor, weight: float, upstream: torch.Tensor | None, pulls: bool
    ) -> torch.Tensor:
        """Losses of the queries (n,), weighted; with `pulls` the gradient is made at once, under
        an upstream of each query, or without one."""
        shape, learned = self.shapes.each, isinstance(bias, torch.Tensor)
        blocks, columns = cdiv(self.n, shape.rows), cdiv(self.n, shape.columns)
        room = 4 * self.total * self.width
        splits = max(1, min(columns, BUSY // blocks, 8, self.memory // room))
        losses = self.vectors.new_empty((splits, self.n))
        self.pulls, self.sums, self.splits = self.vectors, self.vectors, splits
        if pulls:
            self.pulls = self.vectors.new_empty((splits, self.total, self.width))
            self.sums = self.vectors.new_empty((splits, self.total))
        with on(self.device):
            for side in range(2 if pulls else 1):
                self.launch(
                    pull_sigmoid,
                    (blocks, splits, 1),
                    (
                        self.rows, self.vectors, self.vectors if upstream is None else upstream,
                        bias if learned else self.vectors, self.pulls, self.sums, losses, self.n,
                        self.second, self.total, cdiv(columns, splits), weight,
                        0.0 if learned else float(bias),
                    ),
                    (
                        self.width, side, pulls, learned, self.centred,
                        2 if upstream is None else 1, self.pieces, self.shapes.terms,
                        shape.rows, shape.columns, shape.features,
                    ),
                    shape.warps,
                    shape.stages,
                )  # fmt: skip
        return losses

    def gradients(
        self, upstream: torch.Tensor | None, dtype: torch.dtype | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Of the embeddings, times a number from above."""
        with on(self.device):
            raised = upstream is not None
            above = self.vectors if upstream is None else upstream
            return self._restore(self.pulls, self.sums, self.splits, above, 0, dtype, raised=raised)

    def by_bias(self, upstream: torch.Tensor | None) -> torch.Tensor:
        slope = self.sums[:, : self.n].sum()
        return slope if upstream is None else slope * upstream
