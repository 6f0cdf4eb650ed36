"""What all losses share: a frozen statement of a convention, called on arrays."""

import json
import math
from dataclasses import InitVar, dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

from nearfar.evaluate import Options
from nearfar.explain import Explanation, explain
from nearfar.frameworks import (
    HOST_MEMORY,
    Array,
    Evaluation,
    Namespace,
    Statement,
    glue_of,
    namespace_of,
    register_rebuild,
)
from nearfar.losses import checks

LOSSES: dict[str, type["Loss"]] = {}
"""Every loss by its name in lower case."""

_OTHER_NAMES = {"rankncontrast": "supcr"}


def key_of(name: str) -> str:
    """How `LOSSES` spells a name, whatever its case and whichever of a loss's two names it is."""
    return _OTHER_NAMES.get(name.lower(), name.lower())


def choice(*values: Any) -> Any:
    """A field that takes one of these values, the first by default."""
    return field(default=values[0], metadata={"choices": values})


def positive(default: float) -> Any:
    """A field that takes a finite number above 0."""
    return field(default=default, metadata={"number": "a finite number above 0", "above": 0})


def number(default: float) -> Any:
    """A field that takes a finite number."""
    return field(default=default, metadata={"number": "a finite number"})


def from_zero(default: float, below: float = math.inf) -> Any:
    """A field that takes a number from 0 on."""
    end = "" if below == math.inf else f" and below {below:g}"
    return field(
        default=default,
        metadata={"number": f"a finite number from 0 on{end}", "from": 0, "below": below},
    )


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss with every convention as a field; comparable, hashable and picklable.

    Calling it gives the value, in the framework of its inputs and differentiable there.

    Parameters
    ----------
    scale
        A factor on the result after every reduction.
    reduction
        "mean" or "sum" over the anchors, or "none": one value per anchor.
    """

    inputs: ClassVar[tuple[str, ...]]
    """Names of the inputs in call order."""
    embeddings: ClassVar[tuple[str, ...]]
    """Those of them that are embeddings and get gradients."""
    optional: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[tuple[str, ...]] = ("temperature",)
    """Fields that a call may replace, by a number or by an array that gets a gradient."""
    _options: ClassVar[Options]
    _text: ClassVar[str]

    scale: float = number(1.0)
    reduction: str = choice("mean", "sum", "none")
    # No field, so that it is no part of the statement; yet `dataclasses.replace` takes it along.
    _evaluated: InitVar[Options] = field(default=Options())

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            LOSSES[cls.__name__.lower()] = cls

    def __post_init__(self, _evaluated: Options) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if "choices" in f.metadata:
                checks.one_of(self, f.name, value, f.metadata["choices"])
            else:
                object.__setattr__(self, f.name, checks.real(f.name, value, f.metadata))
        object.__setattr__(self, "_options", _evaluated)
        object.__setattr__(self, "_evaluated", _evaluated)
        # The statement as text, which a compiler takes for a constant.
        text = json.dumps({**self.to_dict(), "options": _evaluated})
        object.__setattr__(self, "_text", text)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The value, differentiable in the framework of the inputs.

        Parameters
        ----------
        *inputs
            As `inputs` names them; embeddings (n, d) or (n, f1, ..., fk).
        **named
            Inputs by name; ``temperature=`` (and ``bias=``, where the loss has one) replaces the
            field: a number, or an array without axes that gets a gradient.

        Raises
        ------
        TypeError
            For arrays of two frameworks, or a dtype that is not real.
        ValueError
            For shapes that do not fit, and in NumPy for NaN and infinity.
        """
        call = self._open(inputs, named)
        statement = Statement(self._text, call.parameters)
        return glue_of(call.ns).attach(call.evaluation, statement, call.arrays)

    def value_and_grad(
        self,
        *inputs: Any,
        wrt: tuple[int, ...] | None = None,
        **named: Any,
    ) -> tuple[Any, tuple[Any, ...]]:
        """The value and its gradients, in every framework; nothing is recorded.

        Parameters
        ----------
        wrt
            Numbers of the embedding arguments to differentiate by, in call order; all by default.
            The others cost nothing.

        Returns
        -------
        value
            A scalar in the compute dtype.
        gradients
            One per embedding argument (of `wrt`), in its dtype and shape; then those of the
            temperature and of the bias, where arrays are given for them.

        Raises
        ------
        ValueError
            With ``reduction="none"``, whose value has no single gradient.
        """
        if self.reduction == "none":
            raise ValueError(
                'expected reduction "mean" or "sum" for value_and_grad, received "none": a vector '
                "of losses has no single gradient; differentiate a sum of it in your framework"
            )
        call = self._open(inputs, named)
        count, all_arrays = len(call.embeddings), len(call.arrays)
        chosen = tuple(range(count)) if wrt is None else checks.argument_numbers("wrt", wrt, count)
        chosen += tuple(range(all_arrays - call.parameters.count(None), all_arrays))
        wanted = tuple(k in chosen for k in range(all_arrays))
        value, found = glue_of(call.ns).value_and_grad(call.evaluation, call.arrays, wanted)
        return value, tuple(found[k] for k in chosen)

    def explain(self, *inputs: Any, **named: Any) -> Explanation:
        """What this loss does with a batch: chance, positives, faults, who pulls how hard.

        Reads the arrays: not for compiled functions. Prints as a table; see `Explanation` for
        `to_dict` and `plot`.

        Parameters
        ----------
        *inputs, **named
            As for a call.

        Raises
        ------
        TypeError, ValueError
            As a call; NaN and infinity are refused in every framework.

        >>> import numpy as np
        >>> from nearfar import NTXent
        >>> a = np.eye(3)
        >>> NTXent().explain(a, a).to_dict()["findings"]
        ['3 of 6 rows repeat an earlier one: a[0] = b[0], a[1] = b[1], a[2] = b[2]']
        """
        call = self._open(inputs, named)
        ns = call.ns
        floats = {
            name: ns.read(ns.cast(ns.stop(x), ns.compute_dtype(x)))
            for name, x in call.embeddings.items()
        }
        rest = [name for name in self.inputs if name not in self.embeddings]
        facts = call.arrays[len(floats) : len(floats) + len(rest)]
        arrays = floats | {name: ns.read(x) for name, x in zip(rest, facts, strict=True)}
        learned = iter(call.arrays[len(arrays) :])
        values: dict[str, Any] = {
            name: float(ns.read(next(learned))) if known is None else known
            for name, known in zip(self.parameters, call.parameters, strict=True)
        }
        values["_evaluated"] = self._options._replace(check_finite=None)
        return explain(replace(self, **values), arrays, self._options.memory or HOST_MEMORY)

    def with_options(
        self,
        *,
        tile: int | None = None,
        memory: int | None = None,
        workers: int | None = None,
        check_finite: bool | None = None,
    ) -> Self:
        """The same loss, evaluated otherwise; values change by rounding only.

        Parameters
        ----------
        tile
            Rows and columns of a tile; None chooses by `memory` and the device.
        memory
            Bytes for tiles; None: 64 MiB, on an accelerator 1/32 of its memory.
        workers
            Threads over tiles, NumPy only (PyTorch has its own); needs threadpoolctl.
        check_finite
            Refuse NaN and infinity; None does so for NumPy inputs only. True reads the values,
            which `jax.jit` and `tf.function` do not have.
        """
        tile = checks.whole("tile", tile, optional=True)
        memory = checks.whole("memory", memory, optional=True)
        workers = checks.whole("workers", workers, optional=True)
        checks.one_of(self, "check_finite", check_finite, (None, True, False))
        return replace(self, _evaluated=Options(tile, memory, workers, check_finite))

    def to_dict(self) -> dict[str, Any]:
        """The name and every field, ready for JSON; see `loss_from_dict`."""
        return {"loss": type(self).__name__} | {f.name: getattr(self, f.name) for f in fields(self)}

    def _open(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> "_Call":
        replaced = {name: named.pop(name) for name in self.parameters if name in named}
        given = checks.bind(self, inputs, named)
        floats = [(name, given[name]) for name in self.embeddings if name in given]
        ns = namespace_of([*floats, *replaced.items()])
        finite = self._options.check_finite
        embeddings = {name: checks.embeddings(ns, name, x, finite) for name, x in floats}
        self._check_shapes(embeddings)
        like = next(iter(embeddings.values()))
        facts = [
            _FACTS[name](ns, name, x, like, finite)
            for name, x in given.items()
            if name not in embeddings
        ]
        parameters = self._parameters(ns, replaced)
        learned = [
            replaced[name] for name, p in zip(self.parameters, parameters, strict=True) if p is None
        ]
        arrays = (*embeddings.values(), *facts, *learned)
        return _Call(ns, embeddings, arrays, parameters, self._evaluation(arrays, parameters))

    def _parameters(self, ns: Namespace, replaced: dict[str, Any]) -> tuple[float | None, ...]:
        """Of each parameter a number, or None where the call gives an array."""
        self._check_replaced(replaced)
        return tuple(self._parameter(ns, name, replaced) for name in self.parameters)

    def _parameter(self, ns: Namespace, name: str, replaced: dict[str, Any]) -> float | None:
        """A number, or None where the call gives an array."""
        if replaced.get(name) is None:
            return float(getattr(self, name))
        known = next(f.metadata for f in fields(self) if f.name == name)
        return checks.parameter(ns, name, replaced[name], known)

    def _check_replaced(self, replaced: dict[str, Any]) -> None:
        """Raise ValueError where a call may not replace a parameter."""
        return  # TensorFlow's autograph warns of a body that is a docstring only

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        """Raise ValueError where the embeddings do not fit each other."""
        return

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: tuple[float | None, ...]
    ) -> Evaluation:
        """How to compute this loss on checked inputs; a parameter that is None is among them."""
        raise NotImplementedError


_FACTS = {"labels": checks.labels, "targets": checks.targets}


class _Call(NamedTuple):
    """The checked inputs of one call."""

    ns: Namespace
    embeddings: dict[str, Array]
    arrays: tuple[Array, ...]
    parameters: tuple[float | None, ...]
    evaluation: Evaluation


def loss_from_dict(d: dict[str, Any]) -> Loss:
    """The loss that `Loss.to_dict` described.

    >>> from nearfar import NTXent, loss_from_dict
    >>> loss_from_dict(NTXent(temperature=0.2).to_dict()) == NTXent(temperature=0.2)
    True
    """
    rest = dict(d)
    name = rest.pop("loss", None)
    loss = LOSSES.get(key_of(str(name)))
    if loss is None:
        known = ", ".join(sorted(cls.__name__ for cls in LOSSES.values()))
        raise ValueError(f"expected d['loss'] to be one of {known}; received {name!r}")
    unknown = sorted(set(rest) - {f.name for f in fields(loss)})
    if unknown:
        raise ValueError(
            f"expected fields of {loss.__name__} in d, received also {', '.join(unknown)}; "
            "was it written by another version of nearfar?"
        )
    return loss(**rest)


def _rebuild(statement: Statement, arrays: tuple[Array, ...]) -> Evaluation:
    fields = json.loads(statement.text)
    options = Options(*fields.pop("options"))
    loss = loss_from_dict(fields).with_options(**options._asdict())
    return loss._evaluation(arrays, statement.parameters)


register_rebuild(_rebuild)
