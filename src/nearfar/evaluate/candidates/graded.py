"""How much of a positive each pair is: given, or a function of what is known of its rows."""

from typing import Any, NamedTuple

from nearfar.evaluate.partition.exponentials import STREAMING, nothing_yet
from nearfar.evaluate.partition.tile import across
from nearfar.evaluate.plan import DIAGONAL, MIXED, Kind, triangle
from nearfar.evaluate.schedule import Step, over_tiles
from nearfar.frameworks import Array, Block, Namespace, Scratch

_Carry = tuple[Any, ...]


class Grading(NamedTuple):
    """See `nearfar.SoftContrastive`."""

    kernel: str  # "given", "rbf", "jaccard", "cosine"
    bandwidth: float
    normalise: str  # "row", "positives", "none"


class PairGrades:
    """Weights of pairs, each divided by a number of its anchor (n,)."""

    def __init__(
        self, ns: Namespace, grading: Grading, targets: Array, like: Array, side: int
    ) -> None:
        self._ns, self._grading, self._like = ns, grading, like
        cast = ns.cast(targets, like.dtype)
        one_axis = grading.kernel != "given" and len(cast.shape) == 1
        self._targets = cast[:, None] if one_axis else cast
        self._n = ns.shape(like)[0]
        self._side = side
        if grading.kernel == "cosine":
            self._targets = ns.unit_rows(self._targets, 1.0)[0]
            self._log = self._log_sums()
        self._over, self.total = self._normalised()

    def tile(self, i: Block, j: Block, axis: int) -> Array:
        return self._raw(i, j, axis) / across(self._ns, self._over, j if axis else i, axis)

    def _raw(self, i: Block, j: Block, axis: int) -> Array:
        ns, xp = self._ns, self._ns.xp
        kernel, targets = self._grading.kernel, self._targets
        if kernel == "given":
            anchors, others = (j, i) if axis else (i, j)
            turned = ns.rows(xp.matrix_transpose(ns.rows(targets, anchors)), others)
            return turned if axis else xp.matrix_transpose(turned)
        a, b = ns.rows(targets, i), ns.rows(targets, j)
        if kernel == "cosine":
            place = j if axis else i
            return xp.exp(self._logits(a, b) - across(ns, self._log, place, axis))
        if kernel == "rbf":
            squares = 0.0
            for k in range(targets.shape[1]):
                apart = a[:, None, k] - b[None, :, k]
                squares = squares + apart * apart
            return xp.exp(squares * (-0.5 / self._grading.bandwidth**2))
        shared = a @ xp.matrix_transpose(b)
        either = xp.sum(a, axis=1)[:, None] + xp.sum(b, axis=1)[None, :] - shared
        one = xp.ones_like(either)
        return xp.where(either > 0, shared / xp.where(either > 0, either, one), one)

    def _logits(self, a: Array, b: Array) -> Array:
        return (a @ self._ns.xp.matrix_transpose(b)) / self._grading.bandwidth

    def _over_tiles(self, body: Any, carry: _Carry) -> _Carry:
        def kind(i: Block | None, j: Block | None) -> Kind:
            meet = i is not None and j is not None and i.start == j.start
            return DIAGONAL if meet else MIXED

        plan = triangle(self._n, self._side, 1, kind)
        return over_tiles(self._ns, plan, body, carry, None)

    def _log_sums(self) -> Array:
        """Logarithms of the sums over the others of exp(cosine / bandwidth)."""
        ns = self._ns

        def body(kind: Kind) -> Step[_Carry]:
            def step(state: _Carry, i: Block, j: Block, scratch: Scratch | None) -> _Carry:
                x = self._logits(ns.rows(self._targets, i), ns.rows(self._targets, j))
                if kind.diagonal:
                    return STREAMING.absorb(
                        ns, state, i, ns.fill_diagonal_(x, i, j, -float("inf")), 1
                    )
                state = STREAMING.absorb(ns, state, i, 0 + x, 1)
                return STREAMING.absorb(ns, state, j, x, 0)

            return step

        state = self._over_tiles(body, nothing_yet(ns, self._n, self._like))
        # An anchor alone has none to divide by.
        log = STREAMING.log(ns, state, 0.0)
        return ns.xp.where(state[1] > 0, log.whole(), ns.xp.zeros_like(log.log))

    def _normalised(self) -> tuple[Array, Array]:
        """What each anchor's weights are divided by, and what they add up to then."""
        ns, xp = self._ns, self._ns.xp

        def body(kind: Kind) -> Step[_Carry]:
            def step(carry: _Carry, i: Block, j: Block, scratch: Scratch | None) -> _Carry:
                for axis, place in enumerate((i,) if kind.diagonal else (i, j)):
                    w = 0 + self._raw(i, j, axis)
                    if kind.diagonal:
                        w = ns.fill_diagonal_(w, i, j, 0.0)
                    above = ns.cast(w > 0, w.dtype)
                    carry = tuple(
                        ns.add_rows_(x, place, xp.sum(part, axis=1 - axis))
                        for x, part in zip(carry, (w, above), strict=True)
                    )
                return carry

            return step

        start = tuple(ns.zeros((self._n,), self._like) for _ in range(2))
        total, above = self._over_tiles(body, start)
        one = xp.ones_like(total)
        by = {"row": total, "positives": above, "none": one}[self._grading.normalise]
        over = xp.where(by > 0, by, one)
        return over, total / over
