"""Distances of rows and norms of matrices, differentiable, for the arrays of every framework.

Written in plain operations, which each framework compiles and batches itself, and differentiates
but for sums over features, whose slopes are stated.
Integers and lists are welcome (under `torch.compile` arrays only): NumPy computes them in float64,
other frameworks in float32.
float16 and bfloat16 are computed, and returned, in float32. NumPy refuses NaN and infinity, which
other frameworks let through.

Distances come from differences of the rows, never from their products, so near rows keep their
digits. `pairwise` walks the features one at a time, forwards and again for the gradient, and keeps
a few (n, m) arrays. Second derivatives keep some for every feature.

>>> import numpy as np
>>> from nearfar import distances
>>> a = np.array([[1, 1, 1], [2, 2, 2]])
>>> distances.pairwise(a, [[2, 2, 2], [1, 1, 1], [3, 3, 3]]).round(4)
array([[1.7321, 0.    , 3.4641],
       [0.    , 1.7321, 1.7321]])
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nearfar.frameworks import (
    Array,
    Block,
    FeatureSum,
    FeatureWalk,
    Namespace,
    namespace_of,
    unwrapped,
)

__all__ = ["matrix_norm", "paired", "pairwise"]


def pairwise(a: Any, b: Any, metric: str = "euclidean", p: float = 2) -> Array:
    """Distances of every row of `a` to every row of `b`.

    Formula: with e = |x - y| feature by feature, d features,

    - "euclidean": (sum e^2)^(1/2); "sqeuclidean": sum e^2; "cityblock": sum e;
    - "chebyshev": max e; "minkowski": (sum e^p)^(1/p);
    - "cosine": 1 - x . y / (|x| |y|), and 1 where a row is zero;
    - "hamming": the share of features with x != y; times d it is their number.

    Shapes: a (n, d), b (m, d); returns (n, m), with names as in `scipy.spatial.distance.cdist`.
    Range: from 0 up; "cosine" up to 2, "hamming" up to 1.

    Where a distance or a difference is 0 its gradient is 0 ("minkowski" with p < 1 included).
    "chebyshev" shares the gradient among its largest features; "hamming" has none.

    Parameters
    ----------
    a, b
        Rows of real numbers; neither needs as many as the other.
    metric
        One of the names above.
    p
        The exponent of "minkowski", above 0; infinity is "chebyshev". Other metrics ignore it.

    Raises
    ------
    TypeError
        For complex numbers, text, arrays of two frameworks.
    ValueError
        For another shape, unequal numbers of features, no feature, an unknown metric, p <= 0, and
        NaN or infinity in NumPy arrays.

    Source: Deza and Deza, Encyclopedia of Distances, 4th ed. 2016, chapters 1 and 17.

    >>> pairwise([[0, 0, 2]], [[0, 0, 1], [0, 1, 0]], "hamming").round(4)
    array([[0.3333, 0.6667]])
    """
    return _distances(a, b, metric, p, paired=False)


def paired(a: Any, b: Any, metric: str = "euclidean", p: float = 2) -> Array:
    """Distances of row i of `a` to row i of `b`.

    Shapes: a and b (n, d); returns (n,). Formulas, range, parameters, errors and source are those
    of `pairwise`.

    >>> paired([[2, 3, 4, 5], [2, 3, 4, 5]], [[1, 2, 3, 4], [1, 2, 3, 4]])
    array([2., 2.])
    """
    return _distances(a, b, metric, p, paired=True)


def matrix_norm(x: Any, ord: str | int = "fro") -> Array:
    """A norm of a matrix.

    Formula: with entries x_ij and singular values s_k, "fro": (sum x_ij^2)^(1/2);
    "nuc": sum s_k; 2: max s_k.

    Shapes: x (..., n, d); returns (...). Range: from 0 up. A zero matrix has gradient 0. Singular
    values within rounding of 0 add nothing to "nuc", and no gradient.

    Parameters
    ----------
    x
        One matrix, or several along leading axes.
    ord
        "fro", "nuc" or 2.

    Raises
    ------
    TypeError, ValueError
        As `pairwise`; for fewer than two axes and an unknown `ord`.

    Source: Golub and Van Loan, Matrix Computations, 4th ed. 2013, sections 2.3.2 and 2.4.2.

    >>> [round(float(matrix_norm([[3, 0], [4, 5]], ord)), 4) for ord in ("fro", "nuc", 2)]
    [7.0711, 8.9443, 6.7082]
    """
    one_of("ord", ord, ("fro", "nuc", 2))
    ns, (x,) = reals({"x": x})
    shape = tuple(x.shape)
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"expected x of shape (..., n, d) with n, d >= 1; received {shape}; "
            "pass a row as x[None, :]"
        )
    _refuse_not_finite(ns, "x", x)
    return ns.anywhere(lambda x: _norms(ns, x, ord), x)


def _norms(ns: Namespace, x: Array, ord: str | int) -> Array:
    xp, shape = ns.xp, tuple(x.shape)
    if ord == "fro":
        scale = _scale(ns, xp.max(xp.max(xp.abs(x), axis=-1), axis=-1))
        scaled = x / scale[..., None, None]
        return scale * _root(ns, xp.sum(xp.sum(scaled * scaled, axis=-1), axis=-1), 2)
    values = xp.linalg.svdvals(x)  # largest first
    largest = values[..., :1]
    # Directions of vanished singular values are arbitrary, and so would their gradient be.
    known = [size for size in shape[-2:] if size]
    rounding = max([1, *known]) * (2.0**-52 if x.dtype == xp.float64 else 2.0**-23)
    values = xp.where(values > rounding * largest, values, xp.zeros_like(values))
    return xp.sum(values, axis=-1) if ord == "nuc" else values[..., 0]


class _Features:
    """Two sets of rows, walked feature by feature."""

    def __init__(self, ns: Namespace, a: Array, b: Array, paired: bool) -> None:
        self.ns, self.walk = ns, FeatureWalk(paired)
        self.a, self.b = ns.xp.matrix_transpose(a), ns.xp.matrix_transpose(b)

    def sum(
        self, term: Callable[..., Array], change: Callable[..., Array], *constants: Array
    ) -> Array:
        """``sum_k term(e_k, *constants)`` of the differences e; `change` is a factor times the
        derivative of `term`.

        Constants have the shape of the sum.
        """
        return self.ns.feature_sum(FeatureSum(term, change, self.walk), self.a, self.b, *constants)

    def fold(self, step: Callable[[Array, Array, Array], Array], like: Array) -> Array:
        """``total = step(total, x, y)``, a constant; x and y broadcast, features first."""
        ns, walk = self.ns, self.walk
        a, b = ns.stop_gradient(self.a), ns.stop_gradient(self.b)

        def body(total: Array, block: Block) -> Array:
            return step(total, *walk.meet(ns.rows(a, block), ns.rows(b, block)))

        return ns.loop(walk.blocks(a), body, ns.zeros(walk.shape(ns, a, b), like))

    def count(self, true: Callable[[Array, Array], Array], like: Array) -> Array:
        """How many features this holds of."""
        ns = self.ns

        def step(total: Array, x: Array, y: Array) -> Array:
            return total + ns.xp.sum(ns.cast(true(x, y), like.dtype), axis=0)

        return self.fold(step, like)

    def largest(self) -> Array:
        """The largest difference of each pair."""
        xp = self.ns.xp

        def step(total: Array, x: Array, y: Array) -> Array:
            found = xp.max(xp.abs(x - y), axis=0)
            return xp.where((total >= found) | (total != total), total, found)  # NaN stays

        return self.fold(step, self.a)


def _cityblock(ns: Namespace, a: Array, b: Array, p: float, paired: bool) -> Array:
    def term(e: Array) -> Array:
        # JAX gives abs a slope of 1 at zero.
        return ns.xp.where(e == 0, ns.xp.zeros_like(e), ns.xp.abs(e))

    return _Features(ns, a, b, paired).sum(term, lambda by, e: by * ns.sign(e))


def _sqeuclidean(ns: Namespace, a: Array, b: Array, p: float, paired: bool) -> Array:
    return _Features(ns, a, b, paired).sum(lambda e: e * e, lambda by, e: by * 2 * e)


def _chebyshev(ns: Namespace, a: Array, b: Array, p: float, paired: bool) -> Array:
    xp = ns.xp
    features = _Features(ns, a, b, paired)
    largest = features.largest()

    def is_largest(e: Array, largest: Array) -> Array:
        return (xp.abs(e) == largest) & (e != 0)

    ties = features.count(lambda x, y: is_largest(x - y, largest), a)
    share = 1 / xp.where(ties > 0, ties, xp.ones_like(ties))
    # None is as large as NaN, which has a gradient of NaN.
    share = xp.where(largest == largest, share, largest)

    def weight(e: Array, largest: Array, share: Array) -> Array:
        return xp.where(is_largest(e, largest), share, 0 * share)

    def nothing(e: Array, largest: Array, share: Array) -> Array:
        """0, with the gradient of the largest difference."""
        return (xp.abs(e) - ns.stop_gradient(xp.abs(e))) * weight(e, largest, share)

    def change(by: Array, e: Array, largest: Array, share: Array) -> Array:
        return by * ns.sign(e) * weight(e, largest, share)

    return largest + features.sum(nothing, change, largest, share)


def _euclidean(ns: Namespace, a: Array, b: Array, p: float, paired: bool) -> Array:
    return _minkowski(ns, a, b, 2.0, paired)


def _minkowski(ns: Namespace, a: Array, b: Array, p: float, paired: bool) -> Array:
    if p == 1:
        return _cityblock(ns, a, b, p, paired)
    if p == float("inf"):
        return _chebyshev(ns, a, b, p, paired)
    # Divided by each pair's largest difference, powers neither overflow nor vanish. It cancels,
    # and is a constant to differentiation.
    features = _Features(ns, a, b, paired)
    scale = _scale(ns, features.largest())

    def power(e: Array, scale: Array) -> Array:
        e = ns.xp.abs(e) / scale
        return e * e if p == 2 else _power(ns, e, p)

    def change(by: Array, e: Array, scale: Array) -> Array:
        if p == 2:
            return by * (2 * (e / scale)) / scale
        return by * (ns.sign(e) * (p * _power(ns, ns.xp.abs(e) / scale, p - 1))) / scale

    return scale * _root(ns, features.sum(power, change, scale), p)


def _cosine(ns: Namespace, a: Array, b: Array, p: float, paired: bool) -> Array:
    # 1 - cos is half the squared distance of the unit rows, which keeps its digits where small.
    xp = ns.xp
    (u, no_u), (v, no_v) = _unit(ns, a), _unit(ns, b)
    half = 0.5 * _sqeuclidean(ns, u, v, 2, paired)
    zero = no_u | no_v if paired else no_u[:, None] | no_v[None, :]
    return xp.where(zero, xp.ones_like(half), half)


def _hamming(ns: Namespace, a: Array, b: Array, p: float, paired: bool) -> Array:
    like = ns.cast(a[:1, :1], _dtype(ns, (a, b)))
    unequal = _Features(ns, a, b, paired).count(lambda x, y: x != y, like)
    return unequal / a.shape[1]


_METRICS: dict[str, Callable[[Namespace, Array, Array, float, bool], Array]] = {
    "euclidean": _euclidean,
    "sqeuclidean": _sqeuclidean,
    "cityblock": _cityblock,
    "chebyshev": _chebyshev,
    "minkowski": _minkowski,
    "cosine": _cosine,
    "hamming": _hamming,
}


def _distances(a: Any, b: Any, metric: str, p: float, paired: bool) -> Array:
    one_of("metric", metric, tuple(_METRICS))
    if metric == "minkowski":
        p = _exponent(p)
    ns, (a, b) = reals({"a": a, "b": b}, exact=metric == "hamming")
    for name, x in (("a", a), ("b", b)):
        if len(x.shape) != 2 or 0 in tuple(x.shape):
            raise ValueError(
                f"expected {name} of shape (n, d) with n, d >= 1; received {tuple(x.shape)}; "
                f"pass one row as {name}[None, :]"
            )
        _refuse_not_finite(ns, name, x)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"expected a and b with the same number of features; received {tuple(a.shape)} and "
            f"{tuple(b.shape)}; pass rows of one space"
        )
    unknown = a.shape[0] is None or b.shape[0] is None
    if paired and not unknown and a.shape[0] != b.shape[0]:
        raise ValueError(
            f"expected a and b with as many rows, matched one to one; received {tuple(a.shape)} "
            f"and {tuple(b.shape)}; use pairwise for all pairs"
        )
    return ns.anywhere(lambda a, b: _METRICS[metric](ns, a, b, p, paired), a, b)


def _exponent(p: Any) -> float:
    # A tuple: torch.compile of PyTorch 2.8 knows no unions.
    if isinstance(p, bool) or not isinstance(p, (int, float, np.integer, np.floating)):
        raise TypeError(f"expected p to be a number above 0; received {p!r}; pass a Python number")
    if not p > 0:
        raise ValueError(
            f"expected p to be a number above 0; received {p!r}; "
            'metric="hamming" counts unequal places, as p = 0 would'
        )
    return float(p)


def _scale(ns: Namespace, largest: Array) -> Array:
    """What to divide by, as a constant; 1 where there is nothing that could be divided."""
    largest = ns.stop_gradient(largest)
    usable = (largest > 0) & ns.xp.isfinite(largest)
    return ns.xp.where(usable, largest, ns.xp.ones_like(largest))


def _power(ns: Namespace, x: Array, exponent: float) -> Array:
    """x ** exponent for x >= 0, with gradient 0 at 0."""
    xp = ns.xp
    zero = x == 0
    return xp.where(zero, xp.zeros_like(x), xp.where(zero, xp.ones_like(x), x) ** exponent)


def _root(ns: Namespace, x: Array, p: float) -> Array:
    """x ** (1 / p) for x >= 0, with gradient 0 at 0."""
    if p != 2:
        return _power(ns, x, 1 / p)
    xp = ns.xp
    zero = x == 0
    return xp.where(zero, xp.zeros_like(x), xp.sqrt(xp.where(zero, xp.ones_like(x), x)))


def _unit(ns: Namespace, x: Array) -> tuple[Array, Array]:
    """Rows of norm 1, and which of them are zero and stay so."""
    xp = ns.xp
    scaled = x / _scale(ns, xp.max(xp.abs(x), axis=1))[:, None]
    norm = _root(ns, xp.sum(scaled * scaled, axis=1), 2)
    zero = norm == 0
    return scaled / xp.where(zero, xp.ones_like(norm), norm)[:, None], zero


# -- what the measures accept, shared with divergences ---------------------------------------------


def one_of(name: str, value: Any, values: tuple[Any, ...]) -> None:
    # PyTorch 2.8 does not compile a union of types.
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value not in values:
        listed = ", ".join(repr(v) for v in values)
        raise ValueError(f"expected {name} to be one of {listed}; received {value!r}; choose one")


def reals(named: Mapping[str, Any], *, exact: bool = False) -> tuple[Namespace, list[Array]]:
    """Real arrays of one framework in one floating dtype; `exact` keeps integers of one dtype."""
    named = {name: unwrapped(x) for name, x in named.items()}
    ns = namespace_of(named.items())
    like = [*(x for x in named.values() if ns.is_array(x)), None][0]
    arrays = []
    for name, x in named.items():
        if not ns.is_array(x):
            try:
                values = np.asarray(x)
            except ValueError as error:  # rows of unequal length
                raise ValueError(
                    f"expected {name} to be an array; received a list that is none: {error}; "
                    "make its rows equally long"
                ) from None
            _refuse_not_real(ns, name, values.dtype, values.dtype.kind in "biuf")
            # A list beside an array takes on its dtype.
            x = values if like is None else ns.asarray(values, like, _dtype(ns, (like,)))
        elif isinstance(x, np.ndarray) and not x.dtype.isnative:
            x = x.astype(x.dtype.newbyteorder("="))
        known = ns.is_floating(x) or any(kind in str(x.dtype) for kind in ("int", "bool"))
        _refuse_not_real(ns, name, x.dtype, known)
        arrays.append(x if like is None else ns.beside(x, like))
    if exact and len({x.dtype for x in arrays}) == 1:
        return ns, arrays
    dtype = _dtype(ns, arrays)
    return ns, [ns.cast(x, dtype) for x in arrays]


def _dtype(ns: Namespace, arrays: Any) -> Any:
    """The dtype to compute in: that of the floating arrays; for integers the framework's own."""
    floating = [x for x in arrays if ns.is_floating(x)]
    if not floating and ns.on_host:
        return ns.xp.float64
    return ns.compute_dtype(*floating)


def _refuse_not_real(ns: Namespace, name: str, dtype: Any, real: bool) -> None:
    if not real:
        raise TypeError(
            f"expected {name} to hold real numbers; received dtype {dtype}; convert it first"
        )


def _refuse_not_finite(ns: Namespace, name: str, x: Array) -> None:
    if not ns.checks_values or np.isfinite(x).all():
        return
    row = int(np.argwhere(~np.isfinite(x))[0, 0])
    raise ValueError(
        f"expected {name} to be finite; received NaN or infinity, first in row {row}; "
        "repair or drop such rows"
    )
