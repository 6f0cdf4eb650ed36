"""A loss's rule as a Triton function, from the rule itself: its formula stays in one place.

A rule is given symbols for what is known of an anchor and a namespace that writes down what is done
with them, and the lines that this gives are compiled. What cannot be written down raises
`Untraceable`, which is a reason not to take the kernels.
"""

import linecache
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.tile import log1p, logaddexp, sigmoid, softplus

INPUTS = ("log0", "log1", "linear", "pair", "count", "negatives", "temperature")


class Untraceable(Exception):
    """The rule does what kernels have no words for."""


class Symbol:
    """A value in a function that is being written."""

    def __init__(self, trace: "Trace", name: str) -> None:
        self.trace, self.name = trace, name

    def __bool__(self) -> bool:
        raise Untraceable("its rule decides by the values of arrays")

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"its rule asks for .{name} of an array")


def _operator(text: str) -> Callable[..., Symbol]:
    def apply(*operands: Any) -> Symbol:
        trace = next(x.trace for x in operands if isinstance(x, Symbol))
        return trace.line(text.format(*map(trace.spell, operands)))

    return apply


for _name, _text in {
    "__add__": "{0} + {1}", "__radd__": "{1} + {0}",
    "__sub__": "{0} - {1}", "__rsub__": "{1} - {0}",
    "__mul__": "{0} * {1}", "__rmul__": "{1} * {0}", "__truediv__": "{0} / {1}",
    "__rtruediv__": "{1} / {0}", "__neg__": "-{0}", "__lt__": "{0} < {1}", "__le__": "{0} <= {1}",
    "__gt__": "{0} > {1}", "__ge__": "{0} >= {1}", "__eq__": "{0} == {1}", "__ne__": "{0} != {1}",
    "__and__": "{0} & {1}", "__or__": "{0} | {1}", "__invert__": "{0} == 0",
}.items():  # fmt: skip
    setattr(Symbol, _name, _operator(_text))


def _power(x: Symbol, exponent: Any) -> Symbol:
    if exponent != 2:
        raise Untraceable(f"its rule takes a power of {exponent}")
    return _operator("{0} * {0}")(x)


setattr(Symbol, "__pow__", _power)  # noqa: B010


class Operations:
    """The functions that rules may use, of an array-API module and of a namespace."""

    def __init__(self, trace: "Trace") -> None:
        self.xp, self._trace = self, trace
        for name, text in {
            "where": "tl.where({0}, {1}, {2})",
            "exp": "tl.exp({0})",
            "log": "tl.log({0})",
            "log1p": "log1p({0})",
            "abs": "tl.abs({0})",
            "sqrt": "tl.sqrt({0})",
            "maximum": "tl.maximum({0}, {1})",
            "minimum": "tl.minimum({0}, {1})",
            "ones_like": "tl.full({0}.shape, 1.0, tl.float32)",
            "zeros_like": "tl.full({0}.shape, 0.0, tl.float32)",
            "softplus": "softplus({0})[0]",
            "sigmoid": "sigmoid({0})",
            "logaddexp": "logaddexp({0}, {1})",
        }.items():
            setattr(self, name, _operator(text))

    def stop(self, x: Symbol) -> Symbol:
        return x

    def softplus_and_sigmoid(self, x: Symbol) -> tuple[Symbol, Symbol]:
        return self._trace.pair(f"softplus({x.name})")

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"its rule uses {name}, which the kernels do not know")


class Trace:
    """The lines so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def spell(self, x: Any) -> str:
        if isinstance(x, Symbol):
            return x.name
        if isinstance(x, bool | int | float):
            return f'float("{float(x)}")' if abs(x) == float("inf") else repr(float(x))
        raise Untraceable(f"its rule uses a {type(x).__name__}")

    def line(self, text: str) -> Symbol:
        name = f"v{len(self.lines)}"
        self.lines.append(f"    {name} = {text}")
        return Symbol(self, name)

    def pair(self, text: str) -> tuple[Symbol, Symbol]:
        names = [f"v{len(self.lines)}{which}" for which in "ab"]
        self.lines.append(f"    {', '.join(names)} = {text}")
        first, second = (Symbol(self, name) for name in names)
        return first, second


Written = tuple[Any, tuple[bool, ...]]
"""The function, and whether it has slopes by linear sums, by pairs and by the temperature."""


@lru_cache
def written(finish: Callable[[Any, dict[str, Any]], tuple[Any, tuple[Any, ...]]]) -> Written:
    """The Triton function that does what `finish` does with a namespace and symbols by their names.

    `finish` gives losses and slopes (logs, linear, pair, temperature), where all but the first may
    be None.
    """
    trace = Trace()
    symbols = {name: Symbol(trace, name) for name in INPUTS}
    loss, (logs, *others) = finish(Operations(trace), symbols)
    zero = trace.line("tl.full(log0.shape, 0.0, tl.float32)")
    found = [loss, logs[0], logs[1] if len(logs) > 1 else zero]
    found += [zero if x is None else x for x in others]
    results = ", ".join(trace.spell(x) for x in found)
    text = f"@triton.jit\ndef rule({', '.join(INPUTS)}):\n"
    text += "\n".join([*trace.lines, f"    return {results}"]) + "\n"
    return _function(text), tuple(x is not None for x in others)


@lru_cache
def _function(text: str) -> Any:
    # Triton reads a function's source, which a file would hold.
    name = f"<rule {hash(text)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope = {
        "triton": triton, "tl": tl, "softplus": softplus, "sigmoid": sigmoid, "log1p": log1p,
        "logaddexp": logaddexp, "__name__": __name__,
    }  # fmt: skip
    exec(compile(text, name, "exec"), scope)
    return scope["rule"]
