"""Rules of rows against proxies: what becomes of the logit of a row's own proxy.

A logit is the cosine of a row and a proxy over the temperature t.
"""

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any, ClassVar, NamedTuple

from nearfar.frameworks import Array, Namespace


class Own(NamedTuple):
    """The logit that stands for a row's own class, with its derivatives."""

    value: Array  # (n,)
    slope: Array  # by the logit
    temperature: Array  # by t, where the logit stays as it is


class ProxyRule:
    """A cross-entropy over classes, of which each row has one."""

    sharp: ClassVar[float] = 1.0
    """How many times the cosine over the temperature is taken."""
    gamma: Any = None
    """How sharply a class's centres compete for a row; None: it has one."""

    def own(self, ns: Namespace, logits: Array, t: Any) -> Own:
        """What becomes of the logits (n,) of rows and their own class."""
        zero = ns.xp.zeros_like(logits)
        return Own(logits, zero + 1, zero)


@dataclass(frozen=True)
class PlainProxies(ProxyRule):
    """Nothing."""


@dataclass(frozen=True)
class DistantProxies(ProxyRule):
    """Of squared distances of unit rows, 2 - 2 c, taken negative: the 2 falls out."""

    sharp: ClassVar[float] = 2.0


@dataclass(frozen=True)
class AdditiveMargin(ProxyRule):
    """The cosine less a margin."""

    margin: float
    gamma: float | None = None

    def own(self, ns: Namespace, logits: Array, t: Any) -> Own:
        zero = ns.xp.zeros_like(logits)
        return Own(logits - self.margin / t, zero + 1, zero + self.margin / t**2)


@dataclass(frozen=True)
class AngularMargin(ProxyRule):
    """The cosine of the angle plus a margin; beyond pi - margin it falls on in a line."""

    margin: float

    def own(self, ns: Namespace, logits: Array, t: Any) -> Own:
        xp, m = ns.xp, self.margin
        c = logits * t
        square = 1 - c * c
        inside = square > 0
        sine = xp.sqrt(xp.where(inside, square, xp.ones_like(c)))
        short = c >= -cos(m)
        turned = c * cos(m) - xp.where(inside, sine, xp.zeros_like(c)) * sin(m)
        bent = cos(m) + xp.where(inside, c / sine, xp.zeros_like(c)) * sin(m)
        value = xp.where(short, turned, c - m * sin(pi - m))
        slope = xp.where(short, bent, xp.ones_like(c))
        return Own(value / t, slope, (slope * c - value) / t**2)


@dataclass(frozen=True)
class AnchoredProxies:
    """Each proxy as an anchor: its rows pulled, all others pushed, by their softmax."""

    alpha: float
    margin: float

    @property
    def sharp(self) -> float:
        """Logits are alpha times the cosine."""
        return self.alpha
