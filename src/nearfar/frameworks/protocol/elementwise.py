"""Functions of each entry; those that end in an underscore may consume their argument."""

from typing import Any

from nearfar.frameworks.protocol.conversion import Conversion
from nearfar.frameworks.protocol.types import Array, Scratch

UNSEEN = {4: -46.0, 8: -300.0}
"""By item size: of terms of a sum whose largest is 1, those below exp of it count for nothing."""

SLOW = {4: -80.0, 8: -700.0}
"""By item size: exp of it is near to where exponentials themselves become subnormal."""

LEAST = {4: 1e-34, 8: 1e-290}
"""Weights below which nothing is left of a gradient. Smaller ones make products subnormal, which
takes many processors 20 to 200 times as long: all products of a batch whose classes are apart, at a
low temperature."""

SAMPLE = 7
"""Of so many rows one is looked at, for whether any terms are so far."""

WORTH = 1 / 256
"""Share of far terms from which they are worth two more passes."""


class ElementWise(Conversion):
    def exp_(self, x: Array) -> Array:
        return self.xp.exp(x)

    def exp_beside_one_(self, x: Array, slope: Array | None = None) -> Array:
        """exp(x) of terms of sums whose largest is 1, where 0 may stand for what is not seen beside
        it, or not after a multiplication by `slope`, as wide as `x` or 1."""
        return self.exp_(x)

    def root_(self, x: Array) -> Array:
        """Square roots; where x <= 0 it is 0 and has no gradient."""
        zero = x <= 0
        return self.fill_(self.xp.sqrt(self.fill_(x, zero, 1)), zero, 0)

    def finite(self, x: Array) -> Array:
        """0 for -inf; NaN and +inf stay, so that they reach the result."""
        return self.xp.where(x == -float("inf"), self.xp.zeros_like(x), x)

    def abs_(self, x: Array) -> Array:
        return self.xp.abs(x)

    def log1p_(self, x: Array) -> Array:
        return self.xp.log1p(x)

    def inverse_(self, x: Array) -> Array:
        """``1 / x``"""
        return 1 / x

    def inverse_or_zero_(self, x: Array) -> Array:
        """``1 / x``, and 0 where x is 0, there without a gradient."""
        zero = x == 0
        return self.fill_(self.inverse_(self.fill_(x, zero, 1)), zero, 0)

    def add_(self, x: Array, y: Any) -> Array:
        """``x + y``; `y` broadcasts and is never wider than `x`."""
        return x + y

    def sub_(self, x: Array, y: Any) -> Array:
        return x - y

    def mul_(self, x: Array, y: Any) -> Array:
        return x * y

    def div_(self, x: Array, y: Any) -> Array:
        return x / y

    def fill_(self, x: Array, mask: Array, value: float) -> Array:
        """`x` with `value` where the mask is true."""
        return self.xp.where(mask, self.asarray(value, x), x)

    def codes(self, x: Array, like: Array) -> Array:
        """Whole numbers >= 0 in the dtype in which `members` of tiles like `like` compares them
        soonest."""
        return x

    def members(
        self, x: Array, y: Array, alike: bool, like: Array, scratch: Scratch | None
    ) -> Array:
        """``x == y``, or ``x != y`` if not `alike`, as `only_` takes it of a tile like `like`."""
        return x == y if alike else x != y

    def at_most(self, x: Array, limit: Array, scratch: Scratch | None) -> Array:
        """Not ``x > limit``, as `only_` takes it of a tile like `x`; the limit broadcasts."""
        return ~(x > limit)

    def up_to_(self, x: Array, limit: Any, out: Array) -> Array:
        """1 where ``x <= limit`` and 0 elsewhere, in an array of the shape and dtype of `x`; the
        limit broadcasts. In place only."""
        raise NotImplementedError

    def none_above(self, x: Array, limit: float) -> bool:
        """Whether the host finds every entry of a matrix up to a limit, as NaN is not; in place
        only."""
        raise NotImplementedError

    def equal(self, x: Array, y: Array, like: Array, scratch: Scratch | None, key: str) -> Array:
        """1 where two `codes` are equal and 0 elsewhere, in the dtype of `like` and the buffer
        named `key`; in place only."""
        raise NotImplementedError

    def packed(self, ones: Array, scratch: Scratch | None) -> Array:
        """Bits of ones and zeros; in place only."""
        raise NotImplementedError

    def unpacked(self, bits: Array, out: Array, scratch: Scratch | None) -> Array:
        """What was packed, in an array of its shape and dtype."""
        raise NotImplementedError

    def add_times_(self, x: Array, y: Array, z: Array) -> Array:
        """``x + y * z``, in the place of `y`; `x` and `z` broadcast. In place only."""
        raise NotImplementedError

    def sub_twice_(self, x: Array, y: Array) -> Array:
        """``x - 2 * y``, in the place of `x`, which may consume `y` too. In place only."""
        raise NotImplementedError

    def only_(self, x: Array, members: Array, nothing: float) -> Array:
        """`x` with `nothing` in the place of those that are no members."""
        return self.xp.where(members, x, self.asarray(nothing, x))

    def relu_(self, x: Array) -> Array:
        return self.xp.where(x < 0, self.xp.zeros_like(x), x)

    def sign_(self, x: Array) -> Array:
        return self.sign(x)

    def softplus_(self, x: Array) -> Array:
        return self.softplus(x)

    def sigmoid_(self, x: Array) -> Array:
        return self.sigmoid(x)

    def stop_gradient(self, x: Array) -> Array:
        """`x` as a constant to differentiation."""
        return x

    def sign(self, x: Array) -> Array:
        return self.xp.sign(x)

    def softplus(self, x: Array) -> Array:
        """log(1 + exp(x)), without overflow and with its digits where it is small."""
        xp = self.xp
        return xp.where(x > 0, x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))

    def sigmoid(self, x: Array) -> Array:
        xp = self.xp
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, xp.ones_like(x), e) / (1 + e)

    def softplus_and_sigmoid(self, x: Array) -> tuple[Array, Array]:
        """Both, which have much in common."""
        return self.softplus(x), self.sigmoid(x)

    def logaddexp(self, x: Array, y: Array) -> Array:
        """log(exp(x) + exp(y)); `y` must be finite, `x` may be -inf."""
        return y + self.softplus(x - y)
