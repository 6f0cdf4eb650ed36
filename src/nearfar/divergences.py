"""Divergences and cross-entropies, differentiable, for the arrays of every framework.

Natural logarithm throughout. Each takes the last axis as a distribution, sums over it (binary
cross-entropy takes each element as one), and reduces the rest by `reduction`: "mean", "sum" or
"none". Probabilities are taken as they are: nothing is normalised or clipped.

0 log 0 = 0. A place with p > 0 and q = 0 makes the value infinite. Where a term is constant or
infinite its gradient is 0, so no gradient is NaN.

Integers and lists are welcome; dtypes are those of `nearfar.distances`. NumPy refuses
probabilities that are negative or NaN; other frameworks let them through.

>>> import numpy as np
>>> from nearfar import divergences
>>> p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
>>> gap = divergences.cross_entropy(p, q) - divergences.entropy(p) - divergences.kl(p, q)
>>> print(f"{divergences.kl(p, q):.4f} {abs(gap):.4f}")
0.1733 0.0000
"""

from typing import Any

import numpy as np

from nearfar.distances import one_of, reals
from nearfar.frameworks import Array, Namespace

__all__ = ["binary_cross_entropy", "cross_entropy", "entropy", "kl", "softmax_cross_entropy"]

_REDUCTIONS = ("mean", "sum", "none")


def kl(p: Any, q: Any, reduction: str = "mean") -> Array:
    """Kullback-Leibler divergence KL(p || q).

    Formula: sum_k p_k log(p_k / q_k).

    Shapes: p and q (..., c); returns a number, or (...) with reduction "none". Range: from 0 up
    for distributions; infinite where some q_k = 0 < p_k.

    Parameters
    ----------
    p, q
        Probabilities along the last axis.
    reduction
        "mean" over the distributions, "sum" or "none".

    Raises
    ------
    TypeError
        For complex numbers, text, arrays of two frameworks.
    ValueError
        For unequal shapes, no class, an unknown reduction, and for negative or NaN in NumPy arrays.

    Source: Kullback and Leibler 1951, On Information and Sufficiency, eq. 2.4.

    >>> print(f"{kl([0.5, 0.5], [0.25, 0.75]):.6f}")
    0.143841
    >>> print(kl([0.5, 0.5], [1, 0]))
    inf
    """
    ns, p, q = _distributions(p, q, reduction)
    xp = ns.xp
    one = xp.ones_like(p)
    without_p, without_q = p == 0, q == 0
    p1, q1 = xp.where(without_p | without_q, one, p), xp.where(without_p | without_q, one, q)
    # Near each other p - q is exact and p / q would round; far apart p / q could leave the range.
    near = (p1 < 2 * q1) & (q1 < 2 * p1)
    ratio = xp.log1p(xp.where(near, p1 - q1, xp.zeros_like(p)) / q1)
    terms = p1 * xp.where(near, ratio, xp.log(p1) - xp.log(q1))
    return _reduce(ns, xp.sum(_impossible(ns, p, without_q, terms), axis=-1), reduction)


def entropy(p: Any, reduction: str = "mean") -> Array:
    """Shannon's entropy H(p).

    Formula: -sum_k p_k log p_k.

    Shapes: p (..., c); returns a number, or (...) with reduction "none". Range: 0 to log c for
    distributions. Parameters and errors are those of `kl`.

    Source: Shannon 1948, A Mathematical Theory of Communication, section 6.

    >>> print(f"{entropy([0.5, 0.5, 0.0]):.6f}")
    0.693147
    """
    ns, p, _ = _distributions(p, None, reduction)
    return _reduce(ns, ns.xp.sum(_information(ns, p, p), axis=-1), reduction)


def cross_entropy(p: Any, q: Any, reduction: str = "mean") -> Array:
    """Cross-entropy H(p, q) = H(p) + KL(p || q).

    Formula: -sum_k p_k log q_k.

    Shapes: p and q (..., c); returns a number, or (...) with reduction "none". Range: from H(p) up
    for distributions; infinite where some q_k = 0 < p_k. Parameters and errors are those of `kl`.

    Source: Cover and Thomas, Elements of Information Theory, 2nd ed. 2006, sections 2.3 and 5.4.

    >>> print(f"{cross_entropy([0.5, 0.5], [0.25, 0.75]):.6f}")
    0.836988
    """
    ns, p, q = _distributions(p, q, reduction)
    return _reduce(ns, ns.xp.sum(_information(ns, p, q), axis=-1), reduction)


def binary_cross_entropy(
    y: Any, q: Any, from_logits: bool = False, reduction: str = "mean"
) -> Array:
    """Cross-entropy of two outcomes, element by element.

    Formula: -y log q - (1 - y) log(1 - q), with q = 1 / (1 + exp(-x)) where x are logits.

    Shapes: y and q of one shape, which reduction "none" returns; otherwise a number. Range: from 0
    up; infinite where y > 0 = q or y < 1 = q.

    Parameters
    ----------
    y
        Targets from 0 to 1.
    q
        Probabilities from 0 to 1, or finite logits.
    from_logits
        Whether `q` holds logits, which neither overflow nor lose the digits of a small loss.
    reduction
        "mean" over all elements, "sum" or "none".

    Raises
    ------
    TypeError
        For complex numbers, text, arrays of two frameworks, a `from_logits` that is no bool.
    ValueError
        For unequal shapes, no element, an unknown reduction, and for targets or probabilities
        outside 0 to 1 in NumPy arrays.

    Source: Cox 1958, The Regression Analysis of Binary Sequences.

    >>> print(f"{binary_cross_entropy([1, 0], [0.8, 0.4]):.6f}")
    0.366985
    >>> print(f"{binary_cross_entropy([1, 0], [2.0, -1000.0], from_logits=True):.6f}")
    0.063464
    """
    if not isinstance(from_logits, bool):
        raise TypeError(
            f"expected from_logits to be a bool; received {from_logits!r}; pass True for logits"
        )
    one_of("reduction", reduction, _REDUCTIONS)
    ns, (y, q) = reals({"y": y, "q": q})
    _refuse_other_shape("y", y, "q", q, scalars=True)
    _refuse_outside(ns, "y", y, 1)
    if from_logits:
        return _reduce(ns, y * ns.softplus(-q) + (1 - y) * ns.softplus(q), reduction)
    _refuse_outside(ns, "q", q, 1)
    xp = ns.xp
    sure = q == 1
    # log1p(-q) keeps the digits of a small q, which 1 - q would round away.
    no = (y - 1) * xp.log1p(-xp.where(sure, xp.zeros_like(q), q))
    return _reduce(ns, _information(ns, y, q) + _impossible(ns, 1 - y, sure, no), reduction)


def softmax_cross_entropy(logits: Any, target: Any, reduction: str = "mean") -> Array:
    """Cross-entropy of a softmax, from its logits.

    Formula: sum_k t_k (log sum_j exp x_j - x_k); for class numbers t_k = 1 for the class, else 0.

    Shapes: logits (..., c); target (...) of class numbers from 0 to c - 1, or (..., c) of
    probabilities; returns a number, or (...) with reduction "none". Range: from 0 up. Logits may
    be -inf: a class that cannot be. Logits of any size neither overflow nor lose the digits of a
    small loss.

    Parameters
    ----------
    logits
        Unnormalised log-probabilities along the last axis; at least one of them finite.
    target
        Class numbers of an integer dtype, or probabilities of any.
    reduction
        "mean" over the distributions, "sum" or "none".

    Raises
    ------
    TypeError
        For complex numbers, text, arrays of two frameworks, class numbers of a floating dtype.
    ValueError
        For shapes that do not fit, an unknown reduction, class numbers outside 0 to c - 1 that the
        host can read (elsewhere their loss is NaN), negative or NaN targets in NumPy arrays.

    Source: Bridle 1990, Training Stochastic Model Recognition Algorithms as Networks, section 3.

    >>> logits = [[2.0, 0.0, 1.0], [1000.0, 0.0, 0.0]]
    >>> print(softmax_cross_entropy(logits, [0, 1], reduction="none").round(4))
    [4.076e-01 1.000e+03]
    """
    one_of("reduction", reduction, _REDUCTIONS)
    given = target
    ns, (x, target) = reals({"logits": logits, "target": target})
    shape, marks = tuple(x.shape), tuple(target.shape)
    if not shape or 0 in shape or not (_fit(marks, shape) or _fit(marks, shape[:-1])):
        raise ValueError(
            "expected logits (..., c) and target (...) of class numbers or (..., c) of "
            f"probabilities; received logits {shape} and target {marks}; make their shapes fit"
        )
    xp = ns.xp
    if len(marks) < len(shape):
        t = _one_hot(ns, given, target, x)
    else:
        t = target
        _refuse_outside(ns, "target", t, float("inf"))
    never = x == -float("inf")
    largest = ns.stop_gradient(xp.max(x, axis=-1, keepdims=True))
    shifted = xp.where(never, xp.zeros_like(x), x - largest)
    # The largest term is 1, and log1p of the others keeps the digits of a small loss.
    counts = ns.asarray(np.arange(shape[-1], 0, -1), x)
    rank = xp.where(x == largest, counts + xp.zeros_like(x), xp.zeros_like(x))
    first = rank == xp.max(rank, axis=-1, keepdims=True)
    powers = xp.where(never | first, xp.zeros_like(x), xp.exp(shifted))
    # Its own derivative is that of exp(0) / sum: written as a factor that is 1.
    own = xp.sum(xp.where(first, shifted, xp.zeros_like(x)), axis=-1, keepdims=True)
    total = own + xp.log1p(xp.sum(powers, axis=-1, keepdims=True) * xp.exp(-own))
    losses = xp.sum(_impossible(ns, t, never, t * (total - shifted)), axis=-1)
    return _reduce(ns, losses, reduction)


def _one_hot(ns: Namespace, given: Any, target: Array, logits: Array) -> Array:
    """Class numbers as probabilities; NaN for a class that does not exist."""
    xp, c = ns.xp, logits.shape[-1]
    floating = ns.is_floating(given) if ns.is_array(given) else np.asarray(given).dtype.kind == "f"
    if floating:
        raise TypeError(
            f"expected target of shape {tuple(target.shape)} to hold class numbers of an integer "
            "dtype; received floats; convert them, or pass probabilities of the logits' shape"
        )
    known = ns.peek(target)
    if known is not None and ((known < 0) | (known >= c)).any():
        wrong = known[(known < 0) | (known >= c)].flat[0]
        raise ValueError(
            f"expected target to hold class numbers from 0 to {c - 1}, as logits has {c} classes; "
            f"received {int(wrong)}; leave such rows out"
        )
    target = target[..., None]
    classes = ns.asarray(np.arange(c), logits)
    marks = ns.cast(target == classes, logits.dtype)
    known_class = (target >= 0) & (target < c)
    return ns.anywhere(
        lambda marks, known: xp.where(known, marks, xp.full_like(marks, float("nan"))),
        marks,
        known_class,
    )


def _information(ns: Namespace, p: Array, q: Array) -> Array:
    """-p log q; see `_impossible`."""
    zero = q == 0
    return _impossible(ns, p, zero, -p * ns.xp.log(ns.xp.where(zero, ns.xp.ones_like(q), q)))


def _impossible(ns: Namespace, p: Array, never: Array, terms: Array) -> Array:
    """`terms`, but 0 where p is 0 and infinite elsewhere, at the places marked in `never`."""

    def marked(p: Array, never: Array, terms: Array) -> Array:
        xp = ns.xp
        surprise = xp.where(p == 0, xp.zeros_like(p), xp.full_like(p, float("inf")))
        return xp.where(never, surprise, terms)

    return ns.anywhere(marked, p, never, terms)


def _reduce(ns: Namespace, x: Array, reduction: str) -> Array:
    if reduction == "none":
        return x
    return ns.xp.sum(x) if reduction == "sum" else ns.xp.mean(x)


def _distributions(p: Any, q: Any, reduction: str) -> tuple[Namespace, Array, Array]:
    one_of("reduction", reduction, _REDUCTIONS)
    given = {"p": p} if q is None else {"p": p, "q": q}
    ns, arrays = reals(given)
    p, q = arrays[0], arrays[-1]
    _refuse_other_shape("p", p, "q", q, scalars=False)
    for name, x in zip(given, arrays, strict=True):
        _refuse_outside(ns, name, x, float("inf"))
    return ns, p, q


def _fit(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two shapes are equal, as far as they are known."""
    return len(a) == len(b) and all(
        None in sizes or sizes[0] == sizes[1] for sizes in zip(a, b, strict=True)
    )


def _refuse_other_shape(one: str, x: Array, other: str, y: Array, scalars: bool) -> None:
    a, b = tuple(x.shape), tuple(y.shape)
    if not _fit(a, b):
        raise ValueError(
            f"expected {one} and {other} of one shape; received {a} and {b}; broadcast them first"
        )
    if 0 in a or not (a or scalars):
        raise ValueError(
            f"expected {one} of shape (..., c) with at least one element; received {a}; "
            "pass the classes along the last axis"
        )


def _refuse_outside(ns: Namespace, name: str, x: Array, upper: float) -> None:
    if not ns.checks_values or ((x >= 0) & (x <= upper)).all():
        return
    wrong = x[~((x >= 0) & (x <= upper))].flat[0]
    limit = "0 or above" if upper > 1 else "from 0 to 1"
    raise ValueError(
        f"expected {name} to hold probabilities, {limit}; received {wrong}; normalise it, or use "
        "a function that takes logits"
    )
