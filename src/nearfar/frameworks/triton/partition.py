"""The launches of a partition rule: six for views, whatever the number of rows."""

from typing import Any

import torch

from nearfar.frameworks.triton.kernels import layout
from nearfar.frameworks.triton.kernels.finish import finish
from nearfar.frameworks.triton.kernels.once import by_temperature, weigh_anchors
from nearfar.frameworks.triton.kernels.pairs import aggregate, count
from nearfar.frameworks.triton.kernels.pull import pull
from nearfar.frameworks.triton.kernels.rows import prepare, restore
from nearfar.frameworks.triton.kernels.sums import accumulate
from nearfar.frameworks.triton.launch import Launcher, on, tag
from nearfar.frameworks.triton.problem import Asked, Shapes, cdiv, padded_features, shapes_for, up
from nearfar.frameworks.triton.rule import written

_SAFE = 40.0
# Programs that keep every processor of a large card busy.
BUSY = 264


class Batch:
    """The rows of one call, and what is known of them."""

    scaled = False
    """Whether gradients hold the rows' own factors, as those made for both sides at once do."""

    has: tuple[bool, ...] = (False, False, False)
    """Whether the rule has slopes by linear sums, by pairs and by the temperature."""

    def __init__(
        self,
        problem: Asked,
        embeddings: tuple[torch.Tensor, ...],
        labels: torch.Tensor | None,
        temperature: float | torch.Tensor,
        memory: int,
        shapes: Shapes | None = None,
        vectors: torch.Tensor | None = None,
    ) -> None:
        self.problem, self.embeddings, self.memory = problem, embeddings, memory
        x = embeddings[0]
        self.device = x.device
        self.d = x.shape[1]
        self.learned = isinstance(temperature, torch.Tensor)
        self.temperature = temperature
        self.centred = problem.similarity == "neg_sqeuclidean"
        self.dtype = torch.float32 if self.centred else x.dtype
        self._set_features(shapes)
        self.block = min(64, self.shapes.sums.rows)  # anchors of a program of `finish`
        self.codes = x if labels is None else _codes(labels)
        self._lay_out()
        of_temperature = temperature.dtype if isinstance(temperature, torch.Tensor) else None
        tags = (*map(tag, (*embeddings, self.codes)), of_temperature)
        self.launch = Launcher(self.device, tags)
        self.rows = x.new_empty((self.total, self.pieces * self.width), dtype=self.dtype)
        if vectors is None:
            vectors = x.new_empty((layout.FIELDS, self.total), dtype=torch.float32)
        self.vectors = vectors
        # Where an argument is not used any tensor stands for it.
        self.pointer = temperature if self.learned else self.vectors
        self.number = 1.0 if self.learned else float(temperature)
        with on(self.device):
            self._prepare()
        self._guard()

    def _set_features(self, shapes: Shapes | None) -> None:
        """How rows are kept, and so many features at a time."""
        self.width = padded_features(self.d)
        self.shapes = shapes or shapes_for(self.dtype, self.width, self.problem.pairing == "labels")
        self.slice, self.pieces = min(self.width, 128), self.shapes.pieces
        if self.pieces == 3:
            self.dtype = torch.bfloat16

    def _lay_out(self) -> None:
        """Where the sides stand in `rows`."""
        problem, sizes = self.problem, [len(z) for z in self.embeddings]
        self.step, starts = 1, [0]
        if problem.pairing == "views":
            self.n = self.m = 2 * sizes[0]
            self.total, self.second, self.step = up(self.n), 0, 2
            starts = [0, 1]
        elif problem.pairing == "labels":
            self.n = self.m = sizes[0]
            self.total, self.second = up(self.n), 0
        else:
            self.n = sizes[0]
            side = up(self.n)
            starts = [0, side]
            self.m, self.second, self.total = self.n, side, 2 * side
            if problem.pairing == "shared":
                self.m, self.second = sizes[2], 2 * side
                self.total = 2 * side + up(self.m)
                starts.append(self.second)
        self.starts = starts

    def _prepare(self) -> None:
        z = self.embeddings
        centre = self._centre(z) if self.centred else self.vectors
        self._prepare_parts(z[:2], self.starts[:2], centre, len(z) > 1)
        if len(z) > 2:
            self._prepare_parts(z[2:], self.starts[2:], centre, False)

    def _prepare_parts(
        self, parts: tuple[torch.Tensor, ...], starts: list[int], centre: torch.Tensor, pair: bool
    ) -> None:
        a, b = parts[0], parts[-1]
        padded = up(len(a)) if self.step == 1 else self.total // 2
        block = 16
        self.launch(
            prepare,
            (cdiv(padded, block), 1, 1),
            (
                a, b, self.rows, self.vectors, self.pointer, centre,
                a.stride(0), b.stride(0), a.stride(1), b.stride(1),
                len(a), self.d, padded, starts[0], starts[-1], self.total, self.number,
            ),
            (
                self.width, self.step, len(parts), self.learned,
                self.problem.similarity == "cosine", self.centred, pair, self.pieces, block,
                self.slice,
            ),
            4,
            1,
        )  # fmt: skip

    def _centre(self, parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Distances do not change with the origin; near the centre products lose no digits."""
        # Any point near it will do, so that its own rounding does not matter.
        n = sum(map(len, parts))
        first, *others = (z.mean(0, dtype=torch.float32) for z in parts)
        if others:
            first.mul_(len(parts[0]) / n)
        for z, mean in zip(parts[1:], others, strict=True):
            first.add_(mean, alpha=len(z) / n)
        return first

    def _guard(self) -> None:
        """Which variants of the exponentials to launch: one where the host knows, else both."""
        self.variants: tuple[bool, ...] = (False, True)
        self.times = max(abs(times) for _, times in self.problem.sums)
        self.bound, self.decide = self.vectors, 0
        if self.centred:
            self.variants = (True,)
        elif self.problem.similarity == "dot":
            self.bound, self.decide = self.vectors[layout.SQUARE].amax(), 2
        elif self.learned:
            self.bound, self.decide = self.temperature, 1
        else:
            self.variants = (self.times / self.number > _SAFE,)

    @property
    def linear_in_tiles(self) -> bool:
        return self.problem.linear and not self.problem.partnered

    def weights_by_labels(
        self, others: int, scale: float, *, mean: bool, pairs: bool, zero: bool, negatives: bool
    ) -> torch.Tensor:
        """The weight of each anchor (n,) by its number of positives; see `weigh_anchors`."""
        itself = 1.0 if self.problem.include_self == 2 else 0.0
        with on(self.device):
            self.launch(
                count, (cdiv(self.n, 64), 1, 1),
                (self.codes, self.vectors, self.n, self.total, itself), (64, 128), 4, 2,
            )  # fmt: skip
            self.launch(
                weigh_anchors, (1, 1, 1),
                (self.vectors, self.n, self.total, float(others), float(scale)),
                (mean, pairs, zero, negatives, 1024), 4, 1,
            )  # fmt: skip
        return self.vectors[layout.WEIGHT]

    def forward(
        self, rule: Any, weights: float | torch.Tensor, negatives: float, each: bool
    ) -> torch.Tensor:
        """The value, or with `each` the anchors' losses in the caller's order.

        `weights`: a number for all anchors, or one for each, 0 where it does not count.
        `negatives`: how many an anchor has, with labels together with its positives.
        """
        function, self.has = written(rule)
        with on(self.device):
            return self._forward(function, weights, negatives, each)

    def _finish_grid(self) -> tuple[int, int]:
        """Programs of a side, and sides that have anchors."""
        sides = 2 if self.problem.two_sides and self.problem.both else 1
        return cdiv(max(self.n, self.m) if sides == 2 else self.n, self.block), sides

    def _empty_losses(self, programs: int, sides: int, each: bool) -> torch.Tensor:
        """A sum from each program, or with `each` one loss for each anchor."""
        anchors = self.n // 2 if self.problem.first_only else self.n
        return self.vectors.new_empty((sides, anchors) if each else (sides * programs,))

    def _forward(
        self, function: Any, weights: float | torch.Tensor, negatives: float, each: bool
    ) -> torch.Tensor:
        problem, shape = self.problem, self.shapes.sums
        symmetric, k = not problem.two_sides, len(problem.sums)
        linear = self.linear_in_tiles
        blocks, columns = cdiv(self.n, shape.rows), cdiv(self.m, shape.columns)
        room = up(self.m)
        strip = max(1, min(16, blocks * columns // (2 if symmetric else 1) // (4 * BUSY)))
        slots = cdiv(columns, strip)
        # Partial sums of a band of rows stay inside an eighth of the memory.
        per_block = 4 * (k + linear) * (slots * shape.rows + room)
        band = max(1, min(blocks, self.memory // 2 // per_block))
        parts = self.vectors.new_empty((k + linear) * (slots * band * shape.rows + band * room))
        grid = self._finish_grid()
        programs, sides = (cdiv(self.n, self.shapes.each.rows), 1) if problem.pair else grid
        losses = self._empty_losses(programs, sides, each)
        for first in range(0, blocks, band):
            here = min(band, blocks - first)
            for guarded in self.variants:
                self.launch(
                    accumulate,
                    (here, slots, 1),
                    (
                        self.rows, self.vectors, self.rows, self.codes, parts, self.bound,
                        self.n, self.m, self.second, self.total, first, here, 0, slots,
                        here * shape.rows, room,
                    ),
                    (
                        self.width, k, problem.sums, linear, symmetric, problem.both, problem.code,
                        problem.include_self, guarded, self.decide, self.times, self.centred, False,
                        self.pieces, strip, shape.rows, shape.columns, shape.features,
                    ),
                    shape.warps,
                    shape.stages,
                )  # fmt: skip
            close = first + band >= blocks
            self._finish(
                function, weights, negatives, each, parts, losses,
                (first, here, 0, slots, here * shape.rows, room), grid,
                opens=first == 0, closes=close,
            )  # fmt: skip
        if problem.pair:
            shape = self.shapes.each
            self.launch(
                aggregate,
                (programs, 1, 1),
                (
                    self.rows, self.vectors, self.codes, weights, self.pointer, losses, self.n,
                    self.total, self.number, float(negatives),
                ),
                (
                    self.width, k, problem.pair, problem.include_self, self.centred, function,
                    self.learned, each, self.has, self.pieces, shape.rows, shape.columns,
                    shape.features,
                ),
                shape.warps,
                shape.stages,
            )  # fmt: skip
        if not each:
            return losses.sum()
        return losses[0] if sides == 1 else losses[0] + losses[1]

    def _finish(
        self, function: Any, weights: float | torch.Tensor, negatives: float, each: bool,
        parts: torch.Tensor, losses: torch.Tensor, band: tuple[int, ...], grid: tuple[int, int],
        *, opens: bool, closes: bool,
    ) -> None:  # fmt: skip
        problem = self.problem
        weighed = isinstance(weights, torch.Tensor)
        self.launch(
            finish,
            (*grid, 1),
            (
                parts, self.vectors, weights if weighed else self.vectors, self.pointer, self.bound,
                losses, self.n, self.m, self.second, self.total, *band, self.number,
                0.0 if weighed else float(weights), float(negatives),
            ),
            (
                len(problem.sums), problem.sums, self.linear_in_tiles, not problem.two_sides,
                problem.code, self.variants[0], self.decide, self.times, function, opens, closes,
                closes and not problem.pair, self.learned, weighed, each, problem.first_only,
                self.has, self.shapes.sums.rows, self.block,
            ),
            2,
            1,
        )  # fmt: skip

    def backward(
        self, upstream: torch.Tensor | None, each: bool, dtype: torch.dtype | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Gradients of the embeddings, by a number from above, one for each anchor, or without."""
        kind = 2 if upstream is None else int(each)
        above = self.vectors if upstream is None else _aligned(upstream)
        with on(self.device):
            pulls, sums, splits = self._pull(above, kind)
            return self._restore(pulls, sums, splits, above, kind, dtype)

    def _pull(self, upstream: torch.Tensor, each: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        problem, half = self.problem, self.pieces == 1
        # Weights of many positives, of one sign and much alike, are rounded alike, which adds up:
        # one piece more.
        more = half and problem.pairing == "labels"
        # In half precision tiles are so large that only one sum's terms fit beside them.
        small = more or (half and len(problem.sums) == 2)
        shape = self.shapes.each if small else self.shapes.pull
        largest = max(self.n, self.m)
        blocks, columns = cdiv(largest, shape.rows), cdiv(largest, shape.columns)
        sides = 2 if problem.two_sides else 1
        room = 4 * self.total * self.width
        splits = max(1, min(columns, BUSY // (blocks * sides), 8, self.memory // room))
        pulls = self.vectors.new_empty((splits, self.total, self.width))
        sums = self.vectors.new_empty((splits, self.total)) if self.centred else self.vectors
        terms = self.shapes.terms + more
        for guarded in self.variants:
            self.launch(
                pull,
                (blocks, splits, sides),
                (
                    self.rows, self.vectors, self.codes, upstream, self.bound, pulls, sums,
                    self.n, self.m, self.second, self.total, cdiv(columns, splits),
                    self.n // self.step,
                ),
                (
                    self.width, len(problem.sums), problem.sums, self.linear_in_tiles, problem.pair,
                    not problem.two_sides, problem.both, problem.code, problem.include_self,
                    guarded, self.decide, self.times, self.centred, each, problem.first_only,
                    self.pieces, terms, shape.rows, shape.columns,
                    shape.features,
                ),
                shape.warps,
                shape.stages,
            )  # fmt: skip
        return pulls, sums, splits

    def _restore(
        self, pulls: torch.Tensor, sums: torch.Tensor, splits: int, upstream: torch.Tensor,
        each: int, dtype: torch.dtype | None, *, raised: bool = False,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        problem, z = self.problem, self.embeddings
        outs = tuple(x.new_empty(x.shape, dtype=dtype or x.dtype) for x in z)
        groups = [(outs[:2], self.starts[:2], 1 if len(z) > 2 else 2, problem.linear)]
        if len(z) > 2:
            groups.append((outs[2:], self.starts[2:], 1, False))
        block = max(1, min(16, 4096 // padded_features(self.width)))
        for parts, starts, pulled, linear in groups:
            a, b = parts[0], parts[-1]
            self.launch(
                restore,
                (cdiv(len(a), block), 1, 1),
                (
                    pulls, sums, self.rows, self.vectors, upstream, a, b, a.stride(0), b.stride(0),
                    len(a), self.d, starts[0], starts[-1], self.total, splits,
                ),
                (
                    self.width, self.step, padded_features(self.width), len(parts), pulled,
                    problem.similarity == "cosine", self.centred, linear and problem.partnered,
                    problem.both, self.scaled, self.pieces, raised, problem.code, each,
                    problem.first_only, block,
                ),
                4,
                1,
                a.dtype,
            )  # fmt: skip
        return outs

    def by_temperature(self, upstream: torch.Tensor | None) -> torch.Tensor:
        """Gradient of a learned temperature, after `backward` by the same."""
        own, vectors = self.vectors[layout.TEMPERATURE_SLOPE], self.vectors
        each = self.has[2] and upstream is not None and upstream.ndim > 0
        raised = self.has[2] and upstream is not None and not each
        above = _aligned(upstream) if raised and upstream is not None else vectors
        slope = vectors.new_empty(())
        with on(self.device):
            self.launch(
                by_temperature, (1, 1, 1),
                (vectors, self.temperature, above, slope, self.total),
                (bool(self.has[2]) and not each, bool(raised), 1024), 4, 1,
            )  # fmt: skip
        if upstream is None or not each:
            return slope
        if self.problem.pairing == "views":
            padded = torch.zeros_like(own)
            first = upstream.shape[0] // (1 if self.problem.first_only else 2)
            padded[0 : self.n : 2] = upstream[:first]
            if not self.problem.first_only:
                padded[1 : self.n : 2] = upstream[first:]
            upstream = padded
        return slope + (own * upstream).sum()


def _aligned(x: torch.Tensor) -> torch.Tensor:
    """Kernels read vectors sixteen bytes at a time."""
    x = x.float().contiguous()
    return x if x.data_ptr() % 16 == 0 else x.clone()


def _codes(labels: torch.Tensor) -> torch.Tensor:
    labels = labels.contiguous()
    return labels.view(torch.uint8) if labels.dtype == torch.bool else labels
