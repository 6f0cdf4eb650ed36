"""What all losses share: a frozen statement of a convention, called on arrays."""

import copy
import json
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from nearfar.evaluate import Options
from nearfar.frameworks import (
    Array,
    Evaluation,
    Namespace,
    Statement,
    namespace_of,
    register_rebuild,
)
from nearfar.losses import checks

LOSSES: dict[str, type["Loss"]] = {}
"""Every loss by its name in lower case."""


def choice(*values: Any) -> Any:
    """A field that takes one of these values, the first by default."""
    return field(default=values[0], metadata={"choices": values})


def positive(default: float) -> Any:
    """A field that takes a finite number above 0."""
    return field(default=default, metadata={"number": "a finite number above 0"})


def number(default: float) -> Any:
    """A field that takes a finite number."""
    return field(default=default, metadata={"number": "a finite number"})


SIMILARITIES = ("cosine", "dot", "neg_euclidean", "neg_sqeuclidean")


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
    _options: ClassVar[Options] = Options()
    _text: ClassVar[str]

    scale: float = number(1.0)
    reduction: str = choice("mean", "sum", "none")

    def __init_subclass__(cls) -> None:
        LOSSES[cls.__name__.lower()] = cls

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if "choices" in f.metadata:
                checks.one_of(self, f.name, value, f.metadata["choices"])
            else:
                above = 0 if "above" in f.metadata["number"] else None
                object.__setattr__(
                    self, f.name, checks.real(f.name, value, f.metadata["number"], above)
                )

        self._write_down()

    def _write_down(self) -> None:
        """Keep the statement as text, which a compiler takes for a constant."""
        text = json.dumps({**self.to_dict(), "options": self._options})
        object.__setattr__(self, "_text", text)

    def __call__(self, *inputs: Any, temperature: Any = None, **named: Any) -> Any:
        """The value, differentiable in the framework of the inputs.

        Parameters
        ----------
        *inputs
            As `inputs` names them; embeddings (n, d) or (n, f1, ..., fk).
        temperature
            Replaces the field: a number, or an array without axes that gets a gradient.

        Raises
        ------
        TypeError
            For arrays of two frameworks, or a dtype that is not real.
        ValueError
            For shapes that do not fit, and in NumPy for NaN and infinity.
        """
        call = self._open(inputs, named, temperature)
        statement = Statement(self._text, call.temperature)
        return call.ns.attach(call.evaluation, statement, call.arrays)

    def value_and_grad(
        self,
        *inputs: Any,
        temperature: Any = None,
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
            One per embedding argument (of `wrt`), in its dtype and shape; then that of the
            temperature, if an array is given for it.

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
        call = self._open(inputs, named, temperature)
        count = len(call.embeddings)
        chosen = tuple(range(count)) if wrt is None else checks.argument_numbers("wrt", wrt, count)
        wanted = tuple(k in chosen for k in range(len(call.arrays)))
        if call.learns_temperature:
            wanted = (*wanted[:-1], True)
        value, found = call.ns.value_and_grad(call.evaluation, call.arrays, wanted)
        gradients = tuple(found[k] for k in chosen)
        return value, gradients + ((found[-1],) if call.learns_temperature else ())

    def with_options(
        self,
        *,
        tile: int | None = None,
        memory: int = Options().memory,
        workers: int | None = None,
        check_finite: bool | None = None,
    ) -> Self:
        """The same loss, evaluated otherwise; values change by rounding only.

        Parameters
        ----------
        tile
            Rows and columns of a tile; None chooses by `memory` and the cache.
        memory
            Bytes for tiles.
        workers
            Threads over tiles, NumPy only (PyTorch has its own); needs threadpoolctl.
        check_finite
            Refuse NaN and infinity; None does so for NumPy inputs only.
        """
        checks.whole("tile", tile, optional=True)
        checks.whole("memory", memory)
        checks.whole("workers", workers, optional=True)
        other = copy.copy(self)
        object.__setattr__(other, "_options", Options(tile, memory, workers, check_finite))
        other._write_down()
        return other

    def to_dict(self) -> dict[str, Any]:
        """The name and every field, ready for JSON; see `loss_from_dict`."""
        return {"loss": type(self).__name__} | {f.name: getattr(self, f.name) for f in fields(self)}

    def _open(self, inputs: tuple[Any, ...], named: dict[str, Any], temperature: Any) -> "_Call":
        given = checks.bind(self, inputs, named)
        floats = [(name, given[name]) for name in self.embeddings if name in given]
        ns = namespace_of([*floats, ("temperature", temperature)])
        options = self._options
        call = _Call(ns)
        for name, x in floats:
            call.embeddings[name] = checks.embeddings(ns, name, x, options.check_finite)
        self._check_shapes(call.embeddings)
        like = next(iter(call.embeddings.values()))
        arrays = list(call.embeddings.values())
        for name, x in given.items():
            if name not in call.embeddings:
                arrays.append(checks.labels(ns, name, x, like, options.check_finite))
        call.temperature = (
            getattr(self, "temperature", None)
            if temperature is None
            else checks.temperature(ns, temperature)
        )
        if temperature is not None and call.temperature is None:
            call.learns_temperature = True
            arrays.append(temperature)
        call.arrays = tuple(arrays)
        call.evaluation = self._evaluation(call.arrays, call.temperature)
        return call

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        """Raise ValueError where the embeddings do not fit each other."""

    def _evaluation(self, arrays: tuple[Array, ...], temperature: float | None) -> Evaluation:
        """How to compute this loss on checked inputs; no temperature: it is the last of them."""
        raise NotImplementedError


class _Call:
    """The checked inputs of one call."""

    evaluation: Evaluation

    def __init__(self, ns: Namespace) -> None:
        self.ns = ns
        self.embeddings: dict[str, Array] = {}
        self.arrays: tuple[Array, ...] = ()
        self.temperature: float | None = None
        self.learns_temperature = False


def loss_from_dict(d: dict[str, Any]) -> Loss:
    """The loss that `Loss.to_dict` described.

    >>> from nearfar import NTXent, loss_from_dict
    >>> loss_from_dict(NTXent(temperature=0.2).to_dict()) == NTXent(temperature=0.2)
    True
    """
    rest = dict(d)
    name = rest.pop("loss", None)
    loss = LOSSES.get(str(name).lower())
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
    return loss._evaluation(arrays, statement.temperature)


register_rebuild(_rebuild)
