"""The checks that a loss passes, whoever wrote it."""

import copy
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from nearfar import losses
from nearfar.losses import AgainstProxies, GradedRows, Loss, Queries, loss_from_dict
from nearfar.testing.batches import Batch, Batches, batches
from nearfar.testing.running import FRAMEWORKS, Framework, dtype_name, installed, read

Arrays = Sequence[Any]
Reference = Callable[..., Any]

_UPSTREAM = 3.0
_CLOSE = {"float64": 1e-10, "float32": 1e-4, "float16": 2e-2}
"""Of the largest entry, for what is computed in two ways in a dtype."""
_STEP = 1e-6
_DIFFERENCES = 1e-5
"""Of the largest entry, for slopes that are differences of values."""


@dataclass
class Report:
    """What a loss was held to; prints as a list."""

    loss: Loss
    held: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.loss!r} holds:", *(f"  {x}" for x in self.held)]
        return "\n".join([*lines, *(f"  not tried: {x}" for x in self.left_out)])


def check_loss(
    loss: Loss,
    reference: Reference | None = None,
    *,
    batches: Batches | None = None,
    frameworks: Sequence[str] = FRAMEWORKS,
    exact_gradient: bool = True,
) -> Report:
    """Hold a loss to what every built-in loss is held to; AssertionError where it does not.

    Against the reference: values and gradients. Against the loss itself: other tiles, threads,
    dtypes and orders of the rows; every framework that is installed, eager and compiled; upstream
    factors, second derivatives, a learned temperature; `explain`; copies, pickles and JSON.

    Parameters
    ----------
    loss
        Of a family of `nearfar.losses`, with reduction "mean" or "sum".
    reference
        The same value by plain loops: called as the loss is, with NumPy arrays (float64, labels and
        targets as they are), it returns a number. It should share no code with the loss. None:
        gradients are held against differences of the loss's own values, and values to nothing.
    batches
        Inputs by a name in words, the first for all checks; None: those of the family, with single
        rows, single classes and ties.
    frameworks
        Those to try, of "numpy", "torch", "tensorflow", "jax"; one that is not installed is left
        out, and the report says so.
    exact_gradient
        False for a loss that takes weights for constants, whose gradient is not that of its value.

    Returns
    -------
    report
        What was held, and what could not be tried; prints as a list.

    Raises
    ------
    AssertionError
        With the check, the batch, what came and what was expected.

    >>> import nearfar as nf
    >>> from nearfar.testing import check_loss
    >>> check_loss(nf.DCL(), frameworks=["numpy"]).left_out
    ['values: no reference was given']
    """
    if not isinstance(loss, Loss) or loss.reduction == "none":
        raise TypeError(
            f'expected a nearfar loss with reduction "mean" or "sum"; received {loss!r}; the '
            'vector of reduction="none" is tried along the way'
        )
    with catch_warnings():
        # A batch without positives, of which NumPy warns, is a case here.
        simplefilter("ignore", UserWarning)
        given = batches or _family_batches(loss)
        return _checked(loss, reference, given, frameworks, exact_gradient)


def _checked(
    loss: Loss,
    reference: Reference | None,
    given: Batches,
    frameworks: Sequence[str],
    exact_gradient: bool,
) -> Report:
    report = Report(loss)
    first = next(iter(given.values()))
    tried = [(name, installed(name)) for name in frameworks]
    report.left_out += [f"{name}: not installed" for name, found in tried if found is None]
    found = [framework for _, framework in tried if framework is not None]
    report.left_out += [f"{one.name}, {why}" for one in found for why in one.left_out]
    _check_statement(loss)
    report.held.append("copies, JSON, equality")
    if "<locals>" in type(loss).__qualname__:
        report.left_out.append("pickles: the class is defined within a function")
    else:
        _check_copy(loss, "pickle", pickle.loads(pickle.dumps(loss)))
        report.held.append("pickles")
    if reference is None:
        report.left_out.append("values: no reference was given")
    for about, batch in given.items():
        _check_values(loss, reference, about, batch)
        if exact_gradient:
            _check_gradients(loss, reference, about, batch)
    report.held.append(f"values and gradients of {len(given)} batches")
    _check_reductions(loss, given)
    _check_order(loss, first)
    _check_tiles(loss, given)
    _check_dtypes(loss, first)
    report.held.append("reductions, tiles, dtypes, orders of the rows")
    if find_spec("threadpoolctl"):
        _check_threads(loss, first)
        report.held.append("threads")
    else:
        report.left_out.append("threads: threadpoolctl is not installed")
    if "temperature" in loss.learnable and exact_gradient:
        _check_temperature(loss, first)
        report.held.append("a learned temperature")
    for framework in found:
        report.held += list(_check_framework(loss, framework, given, exact_gradient))
    for about, batch in given.items():
        _check_explain(loss, about, batch)
    report.held.append("explain")
    return report


def _family_batches(loss: Loss) -> Batches:
    return batches(loss)


def _split(loss: Loss, batch: Batch) -> tuple[list[Any], list[Any]]:
    """Embeddings, and the rest."""
    names = loss.inputs[: len(batch)]
    pairs = list(zip(names, batch, strict=True))
    return (
        [np.asarray(x, dtype=np.float64) for name, x in pairs if name in loss.embeddings],
        [x for name, x in pairs if name not in loss.embeddings],
    )


class _EmbeddingsFirst:
    """A loss that is called with its embeddings first, wherever they stand in its call."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def _placed(self, arrays: tuple[Any, ...]) -> Iterator[Any]:
        names = self._loss.inputs[: len(arrays)]
        count = sum(name in self._loss.embeddings for name in names)
        x, rest = iter(arrays[:count]), iter(arrays[count:])
        return (next(x if name in self._loss.embeddings else rest) for name in names)

    def __call__(self, *arrays: Any) -> Any:
        return self._loss(*self._placed(arrays))

    def value_and_grad(self, *arrays: Any) -> Any:
        return self._loss.value_and_grad(*self._placed(arrays))

    def by(self, reference: Reference, *arrays: Any) -> float:
        return float(reference(*self._placed(arrays)))


def _assert_close(what: str, got: Any, expected: Any, allowed: float) -> None:
    """Within a share of the largest entry, or of 1."""
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    error = float(np.abs(got - expected).max(initial=0.0))
    assert error <= allowed * size, (  # NaN is not
        f"{what}: off by {error:.3g} where {allowed * size:.1g} is allowed; received {got}, "
        f"expected {expected}"
    )


def _check_statement(loss: Loss) -> None:
    for how, other in {
        "copy.deepcopy": copy.deepcopy(loss),
        "JSON": loss_from_dict(json.loads(json.dumps(loss.to_dict()))),
        "repr": eval(repr(loss), {**vars(losses), type(loss).__name__: type(loss)}),
        "with_options": loss.with_options(tile=3),
    }.items():
        _check_copy(loss, how, other)


def _check_copy(loss: Loss, how: str, other: Any) -> None:
    assert type(other) is type(loss), f"{how}: gives a {type(other).__name__}"
    assert other == loss, f"{how}: gives {other!r}, which is not equal to {loss!r}"
    assert hash(other) == hash(loss), f"{how}: gives another hash"


def _check_values(loss: Loss, reference: Reference | None, about: str, batch: Batch) -> None:
    value = loss(*batch)
    assert np.isfinite(value), f"value, {about}: {value}"
    if reference is None:
        return
    try:
        expected = reference(*batch)
    except Exception as error:
        shapes = ", ".join(str(np.shape(x)) for x in batch)
        error.add_note(
            f"The reference raised this on the batch {about!r}, of shapes {shapes}; give batches= "
            "where the loss is not meant for it"
        )
        raise
    _assert_close(f"value, {about}", value, expected, _CLOSE["float64"])


def _check_gradients(loss: Loss, reference: Reference | None, about: str, batch: Batch) -> None:
    x, rest = _split(loss, batch)
    ordered = _EmbeddingsFirst(loss)
    _, got = ordered.value_and_grad(*x, *rest)

    def value(*inputs: Any) -> float:
        return float(ordered(*inputs) if reference is None else ordered.by(reference, *inputs))

    for k, gradient in enumerate(got):
        expected = np.zeros_like(x[k])
        for at in np.ndindex(x[k].shape):
            ends = []
            for sign in (1, -1):
                moved = [z.copy() for z in x]
                moved[k][at] += sign * _STEP
                ends.append(value(*moved, *rest))
            expected[at] = (ends[0] - ends[1]) / (2 * _STEP)
        what = f"gradient of {loss.embeddings[k]}, {about}"
        assert gradient.shape == x[k].shape, f"{what}: shape {gradient.shape}"
        _assert_close(what, gradient, expected, _DIFFERENCES)


def _check_reductions(loss: Loss, given: Batches) -> None:
    if not _of_anchors(loss):
        return
    each, total = replace(loss, reduction="none"), replace(loss, reduction="sum")
    for about, batch in given.items():
        values = each(*batch)
        assert np.ndim(values) == 1, f'reduction="none", {about}: shape {np.shape(values)}'
        _assert_close(f'reduction="sum", {about}', total(*batch), values.sum(), 1e-12)


def _of_anchors(loss: Loss) -> bool:
    """Whether anchors have losses of their own, or only the batch has one."""
    return "none" in loss.declarations["reduction"]["choices"]


def _check_order(loss: Loss, batch: Batch) -> None:
    n = len(batch[0])
    order = np.random.default_rng(3).permutation(n)
    queue = isinstance(loss, Queries) and len(batch) == 3 and batch[2].ndim == 2
    shared = queue or isinstance(loss, AgainstProxies)
    moved = [x if shared and k == 2 else np.asarray(x)[order] for k, x in enumerate(batch)]
    if isinstance(loss, GradedRows) and loss.stated("weights") == "given":
        moved[1] = moved[1][:, order]  # a column for each row too
    value, gradients = loss.value_and_grad(*batch)
    other, others = loss.value_and_grad(*moved)
    _assert_close("value, rows in another order", other, value, 1e-12)
    for k, (got, expected) in enumerate(zip(others, gradients, strict=True)):
        kept = shared and loss.embeddings[k] == loss.inputs[2]
        expected = expected if kept else expected[order]
        _assert_close("gradient, rows in another order", got, expected, 1e-11)


def _check_tiles(loss: Loss, given: Batches) -> None:
    for about, batch in given.items():
        value, gradients = loss.value_and_grad(*batch)
        for options in ({"tile": 1}, {"tile": 3}, {"memory": 2048}):
            other, others = loss.with_options(**options).value_and_grad(*batch)  # type: ignore[arg-type]
            _assert_close(f"value, {options}, {about}", other, value, 1e-12)
            for got, expected in zip(others, gradients, strict=True):
                _assert_close(f"gradient, {options}, {about}", got, expected, 1e-11)


def _check_threads(loss: Loss, batch: Batch) -> None:
    found = [
        loss.with_options(tile=3, workers=workers).value_and_grad(*batch) for workers in (1, 2)
    ]
    (value, gradients), (other, others) = found
    assert value == other, f"value with 2 threads: {other}, with one: {value}"
    for got, expected in zip(others, gradients, strict=True):
        assert np.array_equal(got, expected), "gradient with 2 threads: other bits than with one"


def _check_dtypes(loss: Loss, batch: Batch) -> None:
    x, rest = _split(loss, batch)
    ordered = _EmbeddingsFirst(loss)
    for dtype, computed in (("float64", "float64"), ("float32", "float32"), ("float16", "float32")):
        narrow = [z.astype(dtype) for z in x]
        value, gradients = ordered.value_and_grad(*narrow, *rest)
        exact, slopes = ordered.value_and_grad(*(z.astype(np.float64) for z in narrow), *rest)
        assert value.dtype == computed, f"value of {dtype} inputs: {value.dtype}, not {computed}"
        _assert_close(f"value, {dtype}", value, exact, _CLOSE["float32"])
        for got, expected in zip(gradients, slopes, strict=True):
            assert got.dtype == dtype, f"gradient of {dtype} inputs: {got.dtype}"
            _assert_close(f"gradient, {dtype}", got, expected, _CLOSE[dtype])


def _check_temperature(loss: Loss, batch: Batch) -> None:
    stated = loss.stated("temperature")
    given = np.asarray(stated)
    value, gradients = loss.value_and_grad(*batch, temperature=given)
    _assert_close("value, temperature at the call", value, loss(*batch), 1e-12)
    step = _STEP * stated
    up, down = (loss(*batch, temperature=stated + sign * step) for sign in (1, -1))
    slope = (up - down) / (2 * step)
    _assert_close("gradient of the temperature", gradients[-1], slope, _DIFFERENCES)


def _check_framework(
    loss: Loss, framework: Framework, given: Batches, exact_gradient: bool
) -> Iterator[str]:
    ordered = _EmbeddingsFirst(loss)
    runs = {mode: ready(ordered) for mode, ready in framework.modes.items()}
    for about, batch in given.items():
        x, rest = _split(loss, batch)
        value, gradients = ordered.value_and_grad(*x, *rest)
        for mode, run in runs.items():
            where = f"{framework.name}, {mode}, {about}"
            got, slopes = run(x, rest, "float64", _UPSTREAM)
            # JAX has float64 only where the program has asked for it.
            close = _CLOSE[dtype_name(got)]
            _assert_close(f"value, {where}", read(got), value, close)
            for one, expected in zip(slopes, gradients, strict=True):
                what = f"gradient with an upstream factor of {_UPSTREAM:g}, {where}"
                assert one is not None, f"{what}: none came"
                assert type(one).__module__ == type(got).__module__ or framework.name == "NumPy"
                _assert_close(what, read(one), _UPSTREAM * expected, close)
    yield f"{framework.name}: {', '.join(framework.modes)}"
    x, rest = _split(loss, next(iter(given.values())))
    if framework.upstream is not None and _of_anchors(loss):
        _check_upstream(loss, framework, x, rest)
        yield f"{framework.name}: upstream vectors"
    # Weights that are taken for constants leave a gradient whose slopes are not symmetric.
    if framework.second is not None and exact_gradient:
        _check_second(loss, framework, x, rest)
        yield f"{framework.name}: second derivatives"


def _check_upstream(loss: Loss, framework: Framework, x: Arrays, rest: Arrays) -> None:
    """A vector of weights, of which one is 0, against one anchor at a time."""
    assert framework.upstream is not None
    each = _EmbeddingsFirst(replace(loss, reduction="none"))
    n = len(each(*x, *rest))
    weights = np.linspace(0.0, 2.0, n)
    whole = framework.upstream(each, x, rest, weights)
    parts = [framework.upstream(each, x, rest, weight) for weight in np.diag(weights)]
    for got, *several in zip(whole, *parts, strict=True):
        expected = sum(read(g) for g in several)
        _assert_close(f"gradient under weights, {framework.name}", read(got), expected, 1e-10)


def _check_second(loss: Loss, framework: Framework, x: Arrays, rest: Arrays) -> None:
    assert framework.second is not None
    rng = np.random.default_rng(4)
    directions = [rng.normal(size=z.shape) for z in x]
    got = framework.second(_EmbeddingsFirst(loss), x, rest, directions)
    step = 1e-5
    ends = [
        _EmbeddingsFirst(loss).value_and_grad(
            *(z + sign * step * d for z, d in zip(x, directions, strict=True)), *rest
        )[1]
        for sign in (1, -1)
    ]
    for k, one in enumerate(got):
        expected = (ends[0][k] - ends[1][k]) / (2 * step)
        _assert_close(f"second derivative, {framework.name}", read(one), expected, 1e-4)


def _check_explain(loss: Loss, about: str, batch: Batch) -> None:
    explanation = loss.explain(*batch)
    facts = explanation.to_dict()
    json.dumps(facts)
    assert type(loss).__name__ in str(explanation), f"explain, {about}: does not name the loss"
    _assert_close(f"value in explain, {about}", facts["value"], loss(*batch), 1e-12)
