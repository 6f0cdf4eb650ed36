"""The launches for rows of many features: see `kernels.weights`."""

from collections.abc import Iterator
from math import isqrt
from typing import Any, NamedTuple

import torch

from nearfar.frameworks.torch.precision import short_factors
from nearfar.frameworks.triton.kernels.sums import accumulate
from nearfar.frameworks.triton.kernels.weights import weigh_pairs, weigh_sigmoid
from nearfar.frameworks.triton.launch import on
from nearfar.frameworks.triton.partition import Batch
from nearfar.frameworks.triton.problem import Shape, Shapes, cdiv, up
from nearfar.frameworks.triton.queries import SigmoidBatch

_LEAST = 1024
# Of a kernel that goes through a tile of products.
_SUMS, _WEIGHTS = Shape(64, 64, 16, 4, 1), Shape(32, 128, 16, 4, 1)


class Part(NamedTuple):
    """A tile: rows from `top` and columns from `left` on, of each side's own numbers."""

    top: int
    rows: int
    left: int
    columns: int


class Tiled(Batch):
    """Products and weights of a tile as arrays."""

    scaled = True

    def _set_features(self, shapes: Shapes | None) -> None:
        self.width, self.slice = up(self.d, 64), 64
        self.pieces = 1 if self.dtype == torch.bfloat16 else 4
        if self.pieces == 4:
            self.dtype = torch.float32  # weights in float16 would be 0
        self.shapes = Shapes(_SUMS, _SUMS, _SUMS, self.pieces, 2)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        # Eight bytes an entry: its product, and the two terms of its weight.
        self.side = max(_LEAST, isqrt(self.memory // 8) // 128 * 128)
        height, room = min(self.side, up(self.n)), min(self.side, up(self.m))
        self.products = self.vectors.new_empty((height, room))
        self.row_count, self.room = height, room

    def parts(self) -> Iterator[Part]:
        n, m = up(self.n), up(self.m)
        for top in range(0, n, self.side):
            for left in range(0 if self.problem.two_sides else top, m, self.side):
                yield Part(top, min(self.side, n - top), left, min(self.side, m - left))

    def _rows(self, start: int, count: int) -> torch.Tensor:
        return self.rows[start : start + count]

    def multiply(self, part: Part) -> torch.Tensor:
        """Products of a tile, float32, (rows, columns)."""
        a, b = self._rows(part.top, part.rows), self._rows(self.second + part.left, part.columns)
        if self.pieces == 4:
            w = self.width
            out = self.products[: part.rows, : part.columns]
            out = out if out.is_contiguous() else out.new_empty(out.shape)
            return torch.mm(a[:, : 3 * w], b[:, w:].T, out=out)
        if a.device.type == "cpu":
            return a.float() @ b.float().T
        return torch.mm(a, b.T, out_dtype=torch.float32)

    def add_flows(
        self, pulls: torch.Tensor, part: Part, high: torch.Tensor, low: torch.Tensor
    ) -> None:
        """Weights times rows, to the rows of a tile and to its columns."""
        a, b = part.top, self.second + part.left
        self._add(pulls[a : a + part.rows], (high, low), self._rows(b, part.columns))
        if self.problem.two_sides or part.left > part.top:
            turned = (high.T, low.T)
            self._add(pulls[b : b + part.columns], turned, self._rows(a, part.rows))

    def _add(
        self, out: torch.Tensor, terms: tuple[torch.Tensor, torch.Tensor], rows: torch.Tensor
    ) -> None:
        w = self.width
        if self.pieces == 4:
            high, low = rows[:, :w], rows[:, w : 2 * w]
            for g, x in ((terms[0], low), (terms[1], high), (terms[0], high)):
                out.addmm_(g, x)
            return
        for g in reversed(terms):
            if g.device.type == "cpu":
                out.add_(g.float() @ rows.float())
            else:
                out.add_(torch.mm(g, rows, out_dtype=torch.float32))

    def terms(self, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
        dtype = torch.float32 if self.pieces == 4 else self.dtype
        shape = (part.rows, part.columns)
        return self.rows.new_empty(shape, dtype=dtype), self.rows.new_empty(shape, dtype=dtype)


class TiledPartition(Tiled):
    def _forward(
        self, function: Any, weights: float | torch.Tensor, negatives: float, each: bool
    ) -> torch.Tensor:
        problem, shape = self.problem, _SUMS
        symmetric, k = not problem.two_sides, len(problem.sums)
        linear = self.linear_in_tiles
        grid = programs, sides = self._finish_grid()
        losses = self._empty_losses(programs, sides, each)
        every = list(self.parts())
        # A program takes four blocks of columns.
        strip = 4
        for number, part in enumerate(every):
            with short_factors(self.device):
                products = self.multiply(part)
            band, slots = part.rows // shape.rows, cdiv(part.columns // shape.columns, strip)
            parts = self.vectors.new_empty((k + linear) * (slots * part.rows + band * part.columns))
            first, left = part.top // shape.rows, part.left // shape.columns
            for guarded in self.variants:
                self.launch(
                    accumulate,
                    (band, slots, 1),
                    (
                        self.rows, self.vectors, products, self.codes, parts, self.bound, self.n,
                        min(self.m, part.left + part.columns), self.second, self.total, first, band,
                        left, slots, part.rows, part.columns,
                    ),
                    (
                        self.width, k, problem.sums, linear, symmetric, problem.both, problem.code,
                        problem.include_self, guarded, self.decide, self.times, False, True,
                        1, strip, shape.rows, shape.columns, 16,
                    ),
                    shape.warps,
                    shape.stages,
                )  # fmt: skip
            self._finish(
                function, weights, negatives, each, parts, losses,
                (first, band, left, slots, part.rows, part.columns), grid,
                opens=number == 0, closes=number == len(every) - 1,
            )  # fmt: skip
        if not each:
            return losses.sum()
        return losses[0] if sides == 1 else losses[0] + losses[1]

    def _pull(self, upstream: torch.Tensor, each: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        problem, shape = self.problem, _WEIGHTS
        pulls = self.vectors.new_zeros((1, self.total, self.width))
        for part in self.parts():
            with short_factors(self.device):
                products = self.multiply(part)
            high, low = self.terms(part)
            for guarded in self.variants:
                self.launch(
                    weigh_pairs,
                    (part.rows // shape.rows, part.columns // shape.columns, 1),
                    (
                        products, self.vectors, self.codes, upstream, self.bound, high, low,
                        self.n, self.m, self.second, self.total, part.top, part.left,
                        self.n // self.step, part.columns,
                    ),
                    (
                        len(problem.sums), problem.sums, self.linear_in_tiles,
                        not problem.two_sides, problem.both, problem.code, problem.include_self,
                        guarded, self.decide, self.times, each, problem.first_only,
                        shape.rows, shape.columns,
                    ),
                    shape.warps,
                    shape.stages,
                )  # fmt: skip
            with short_factors(self.device):
                self.add_flows(pulls[0], part, high, low)
        return pulls, self.vectors, 1


class TiledSigmoid(Tiled, SigmoidBatch):
    def run(
        self, bias: float | torch.Tensor, weight: float, upstream: torch.Tensor | None, pulls: bool
    ) -> torch.Tensor:
        learned, shape = isinstance(bias, torch.Tensor), _WEIGHTS
        losses = self.vectors.new_zeros((1, self.n))
        self.splits, self.sums = 1, self.vectors.new_zeros((1, self.total))
        self.pulls = self.vectors
        if pulls:
            self.pulls = self.vectors.new_zeros((1, self.total, self.width))
        block = 16
        with on(self.device), short_factors(self.device):
            for part in self.parts():
                products = self.multiply(part)
                high, low = self.terms(part) if pulls else (products, products)
                self.launch(
                    weigh_sigmoid,
                    (part.rows // block, 1, 1),
                    (
                        products, self.vectors, self.vectors if upstream is None else upstream,
                        bias if learned else self.vectors, high, low, losses, self.sums,
                        self.n, self.second, self.total, part.top, part.left, part.columns,
                        part.columns, weight, 0.0 if learned else float(bias),
                    ),
                    (pulls, learned, 2 if upstream is None else 1, block, shape.columns),
                    4,
                    1,
                )  # fmt: skip
                if pulls:
                    self.add_flows(self.pulls[0], part, high, low)
        return losses
