"""Finding what is to be checked: ``module:function``, ``module:Class(args)``, ``file.py:name``."""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEMPERATURES = ("temperature", "tau", "temp", "t", "temperature_init", "softmax_temperature")
INVERSES = ("logit_scale", "inverse_temperature", "inv_temperature", "inv_tau", "softmax_scale",
            "la", "scale", "s")  # fmt: skip
ROWS = ("batch_size", "batchsize", "bsz", "bs")
MARGINS = ("margin", "m", "alpha")
NUMBERS = {
    "tau_plus": ("tau_plus", "tau_p", "tauplus", "prior"),
    "beta": ("beta", "scale_neg"),
    "bias": ("bias", "logit_bias", "b"),
    "margin": ("margin", "m"),
    "smoothing": ("label_smoothing", "smoothing"),
    "alpha": ("alpha", "scale_pos"),
    "base": ("base", "lmda", "thresh"),
    "gamma": ("gamma", "scale"),
    "mining": ("mining", "epsilon", "eps"),
    "hardness": ("hardness", "hardness_strength", "alpha"),
    "l2": ("l2", "l2_reg", "reg", "l2_reg_weight"),
    "t": ("t",),
    "eps": ("eps", "epsilon"),
    "invariance": (
        "invariance",
        "sim_coeff",
        "invariance_lambda",
        "lambda_param",
        "sim_loss_weight",
    ),
    "variance": ("variance", "std_coeff", "variance_mu", "mu_param", "var_loss_weight"),
    "covariance": ("covariance", "cov_coeff", "covariance_v", "nu_param", "cov_loss_weight"),
    "off_diagonal": ("off_diagonal", "lambda_param", "lambd", "lamb", "lambda_"),
    "bandwidth": ("bandwidth", "sigma"),
}


class BadTarget(Exception):
    """The target cannot be found or made; the message says why and what to do."""


class BadRequest(ValueError):
    """A form, framework or expectation that does not exist; the message names those that do."""


@dataclass(frozen=True)
class Target:
    """A function, or a class with the arguments of its constructor."""

    make: Callable[..., Callable[..., Any]]
    """Takes keyword arguments, gives what is called on arrays and those that it takes itself."""
    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments to pass on, the constructor's and the call's together."""
    known: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that may be passed by name, with their defaults (None: none or not a number)."""
    positional: tuple[str, ...] = ()
    """Names of the call's positional parameters."""

    def on(self, rows: int, arguments: Mapping[str, Any]) -> Callable[..., Any]:
        """What is called on a batch of so many rows, which some losses have to be told."""
        told = self.parameter(ROWS)
        sizes = {} if told is None else {told: rows}
        return self.make(**{**self.arguments, **sizes, **arguments})

    def parameter(self, names: tuple[str, ...]) -> str | None:
        """The parameter of the first of those names that it takes."""
        lower = {name.lower(): name for name in self.known}
        return next((lower[name] for name in names if name in lower), None)


def as_target(fn: Any, arguments: Mapping[str, Any] | None = None, text: str = "") -> Target:
    """A callable, or a class, as a target."""
    given = dict(arguments or {})
    text = text or getattr(fn, "__qualname__", type(fn).__name__)
    if inspect.isclass(fn):
        return _of_class(fn, (), given, text)
    if not callable(fn):
        raise BadTarget(
            f"expected {text} to be a function or a class; it is {type(fn).__name__}; name what "
            "is called on the arrays"
        )
    known, positional = _parameters(fn)
    _refuse_unknown(text, given, known, fn)

    def make(**kwargs: Any) -> Callable[..., Any]:
        return lambda *arrays: fn(*arrays, **kwargs)

    return Target(make, text, given, known, positional)


def _of_class(cls: Any, args: tuple[Any, ...], given: dict[str, Any], text: str) -> Target:
    built, _ = _parameters(cls)
    try:
        # By name, so that a temperature among them is known and may be varied.
        given = {**inspect.signature(cls).bind_partial(*args).arguments, **given}
        args = ()
    except (TypeError, ValueError):
        pass
    call, positional = _parameters(getattr(cls, "forward", None) or cls.__call__)
    _refuse_unknown(text, given, built | call, cls)

    def make(**kwargs: Any) -> Callable[..., Any]:
        mine = {k: v for k, v in kwargs.items() if k in built or k not in call}
        rest = {k: v for k, v in kwargs.items() if k not in mine}
        made = cls(*args, **mine)
        return lambda *arrays: made(*arrays, **rest)

    named = [n for n in positional if n != "self"]
    return Target(make, text, given, call | built, tuple(named))


def _refuse_unknown(text: str, given: Mapping[str, Any], known: Mapping[str, Any], fn: Any) -> None:
    try:
        kinds = {p.kind for p in inspect.signature(fn).parameters.values()}
    except (TypeError, ValueError):
        return
    unknown = sorted(set(given) - set(known))
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise BadTarget(
            f"{text} takes no argument {unknown[0]!r}; it takes {', '.join(known) or 'none'}; "
            "correct --set"
        )


def _parameters(fn: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Those that may be named, with defaults; and the positional ones."""
    try:
        found = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return {}, ()
    named = {
        p.name: None if p.default is p.empty else p.default
        for p in found
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    }
    positional = tuple(
        p.name
        for p in found
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY) and p.name != "self"
    )
    return named, positional


def resolve(text: str, arguments: Mapping[str, Any] | None = None) -> Target:
    """Import what TARGET names; arguments in it are read as literals, nothing is evaluated."""
    place, name, args, kwargs = split(text)
    given = {**kwargs, **(arguments or {})}
    module = _import(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise BadTarget(f"{place} has no {name!r}; {_offer(module)}")
        found = getattr(found, part)
    if args is None:
        return as_target(found, given, text)
    if inspect.isclass(found):
        return _of_class(found, args, given, text)
    if not callable(found):
        raise BadTarget(f"{name!r} of {place} cannot be called; leave the brackets out")
    return as_target(found(*args, **kwargs), arguments, text)


def split(text: str) -> tuple[str, str, tuple[Any, ...] | None, dict[str, Any]]:
    """Module or file, dotted name, and the literals in its brackets (None without brackets)."""
    place, colon, call = text.partition(":")
    if len(place) == 1 and call[:1] in ("\\", "/"):  # a drive
        rest, colon, call = call.partition(":")
        place = f"{place}:{rest}"
    if not (place and colon and call):
        raise BadTarget(
            f"expected TARGET as module:function, module:Class(args) or file.py:name; received "
            f"{text!r}"
        )
    try:
        node = ast.parse(call.strip(), mode="eval").body
        if isinstance(node, ast.Call):
            args = tuple(ast.literal_eval(arg) for arg in node.args)
            kwargs = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
            return place, ast.unparse(node.func), args, kwargs
    except (SyntaxError, ValueError) as error:
        raise BadTarget(
            f"cannot read {call!r}: expected a name, or a name with literals in brackets such as "
            "Loss(temperature=0.5)"
        ) from error
    return place, call.strip(), None, {}


def _import(place: str) -> Any:
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise BadTarget(f"there is no file {place}")
            # What lies beside the file is imported as if it were run.
            sys.path.insert(0, str(path.resolve().parent))
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(path.stem, module)
            spec.loader.exec_module(module)
            return module
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(place)
    except BadTarget:
        raise
    except SystemExit as error:
        raise BadTarget(f"{place} ends the process when it is imported") from error
    except Exception as error:
        raise BadTarget(
            f"cannot import {place}: {type(error).__name__}: {error}; is it installed, and are "
            "you in its folder?"
        ) from error


def _offer(module: Any) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and
        getattr(value, "__module__", None) == module.__name__
    ]  # fmt: skip
    return f"it has {', '.join(names[:8])}" if names else "it defines no function"
