"""What all losses share: a frozen statement of a convention, called on arrays."""

import json
from collections.abc import Mapping
from dataclasses import InitVar, field, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from nearfar.evaluate import Options, Reduction, without_kernels
from nearfar.frameworks import (
    Array,
    Evaluation,
    Kernel,
    Namespace,
    Statement,
    glue_of,
    namespace_of,
    register_rebuild,
    unwrapped,
)
from nearfar.losses import arguments, facts, inputs, registry
from nearfar.losses.declared import Declared, in_order
from nearfar.losses.exclude import Exclude
from nearfar.losses.fact_arrays import Call
from nearfar.losses.fields import checked, choice, number
from nearfar.rules import (
    AnchoredProxies,
    AtOnceRule,
    PartitionRule,
    ProxyRule,
    QueryRule,
    WithinRule,
)
from nearfar.similarity import DISTANCES, SIMILARITIES, Similarity

if TYPE_CHECKING:
    from nearfar.explain import Explanation

_ALWAYS = ("temperature", "margin")
"""Fields that are written even where they are the default."""


_MAY_BE_EMPTY = ("reference", "queue")
"""Embeddings that a training begins without."""


class Loss(Declared, family=True):
    """A loss with every convention as a field; comparable, hashable and picklable.

    Calling it gives the value, in the framework of its inputs and differentiable there. Losses of
    one's own derive from a family of `nearfar.losses`: see docs/write-a-loss.md.

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
    keywords: ClassVar[tuple[str, ...]] = ()
    """Names of further facts about rows, which a call may give by name only."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Fields that a call may replace, by a number or by an array that gets a gradient."""
    rules: ClassVar[tuple[type, ...]]
    """Kinds of rules that the family is evaluated by."""
    also_written: ClassVar[tuple[str, ...]] = ()
    """What `to_dict` writes beside fields."""
    least_features: ClassVar[int] = 1
    """How many features its embeddings have at least."""
    __array_ufunc__: ClassVar[None] = None
    """So that a number of NumPy times a loss is the loss's to multiply."""
    _settings: ClassVar[Mapping[str, Any]]
    _text: ClassVar[str]

    scale: float = number(1.0)
    reduction: str = choice("mean", "sum", "none")
    if TYPE_CHECKING:

        @property
        def options(self) -> Options:
            """How it is evaluated; see `with_options`."""
    else:
        # No field, so that it is no part of the statement; yet `dataclasses.replace` takes it on.
        options: InitVar[Options] = field(default=Options())

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        cls.parameters = tuple(x for x in ("temperature", "bias") if x in cls.declarations)

    def __post_init__(self, options: Options) -> None:  # type: ignore[override]
        for name, allowed in self.declarations.items():
            value = checked(type(self).__name__, name, getattr(self, name), allowed)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "options", _checked_options(self, options))
        self.check()
        ready = {
            "_settings": self._evaluated(),
            # The statement as text, which a compiler takes for a constant.
            "_text": json.dumps({**self.to_dict(), "loss": self.key, "options": self.options}),
        }
        for name, value in ready.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        stated = {f.name: getattr(self, f.name) for f in fields(self)}
        return _restored, (type(self), {**stated, "options": self.options})

    def check(self) -> None:
        """Raise ValueError where fields do not go together."""
        return  # TensorFlow's autograph warns of a body that is a docstring only

    def rule(
        self,
    ) -> PartitionRule | QueryRule | WithinRule | AtOnceRule | ProxyRule | AnchoredProxies:
        """What the loss makes of its logits."""
        raise TypeError(
            f"{type(self).__name__}: expected a method rule() that returns what the loss makes of "
            "its logits; received none; see docs/write-a-loss.md"
        )

    @property
    def family(self) -> type["Loss"]:
        """What its inputs are and who is positive: a class of `nearfar.losses`."""
        return next(cls for cls in type(self).__mro__ if issubclass(cls, Loss) and cls.key is None)

    @property
    def learnable(self) -> tuple[str, ...]:
        """Those parameters that an array may give.

        None where the temperature is a factor of the loss: it would be learned to be small; nor
        where it is part of how much negatives weigh.
        """
        return () if self._holds_temperature() else self.parameters

    def _holds_temperature(self) -> str:
        """The field by which a statement needs its temperature, with what undoes that; or ""."""
        if self.stated("scale_by") == "temperature":
            return 'scale_by="temperature", whose factor is stated by the temperature of the loss'
        if self.stated("hardness"):
            return "hardness, which weighs logits by the temperature of the loss"
        return ""

    @property
    def comparison(self) -> Similarity:
        """What its logits are: a similarity, or a distance taken negative."""
        if self.by_distance:
            return DISTANCES[self.stated("distance")]
        return SIMILARITIES[self.stated("similarity", "cosine")]

    @property
    def by_distance(self) -> bool:
        """Whether it compares rows by a distance."""
        return "distance" in self.declarations

    @property
    def factor(self) -> float:
        """What the result is multiplied by."""
        grows = self.stated("scale_by") == "temperature"
        return self.scale * float(self.stated("temperature")) if grows else self.scale

    def stated(self, name: str, otherwise: Any = None) -> Any:
        """The field of this name, which means the same in all losses; `otherwise` without it."""
        return getattr(self, name) if name in self.declarations else otherwise

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The value, differentiable in the framework of the inputs.

        Parameters
        ----------
        *inputs
            As `inputs` names them; embeddings (n, d), and but for losses of labels and targets
            also (n, f1, ..., fk).
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
        statement = Statement(_stated(self._text, call.names), call.parameters)
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
        chosen = (
            tuple(range(count)) if wrt is None else arguments.argument_numbers("wrt", wrt, count)
        )
        chosen += tuple(range(all_arrays - call.parameters.count(None), all_arrays))
        wanted = tuple(k in chosen for k in range(all_arrays))
        value, found = glue_of(call.ns).value_and_grad(call.evaluation, call.arrays, wanted)
        return value, tuple(found[k] for k in chosen)

    def explain(self, *inputs: Any, **named: Any) -> "Explanation":
        """What this loss does with a batch: chance, positives, faults, who pulls how hard.

        Reads the arrays: not for compiled functions. Prints as a table; see
        `nearfar.explain.Explanation` for `to_dict` and `plot`.

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
        from nearfar.explain import explain

        call = self._open(inputs, named)
        ns = call.ns
        floats = {
            name: ns.to_numpy(ns.cast(ns.stop_gradient(x), ns.compute_dtype(x)))
            for name, x in call.embeddings.items()
        }
        rest = call.names[len(floats) :]
        found = call.arrays[len(floats) : len(call.names)]
        arrays = floats | {name: ns.to_numpy(x) for name, x in zip(rest, found, strict=True)}
        learned = iter(call.arrays[len(arrays) :])
        values: dict[str, Any] = {
            name: float(ns.to_numpy(next(learned))) if known is None else known
            for name, known in zip(self.parameters, call.parameters, strict=True)
        }
        # With NaN there is nothing to explain, whatever the options let through.
        values["options"] = self.options._replace(check_finite=None)
        return explain(self._with(**values), arrays)

    def clamped(self, *inputs: Any, **named: Any) -> Array | None:
        """Which anchors are at a lower bound, where their negatives have no gradient.

        Called as the loss is; None for a loss without such a bound.
        """
        return None

    def with_options(
        self,
        *,
        tile: int | None = None,
        memory: int | None = None,
        workers: int | None = None,
        check_finite: bool | None = None,
        kernel: str | None = None,
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
        kernel
            "tiles"; "fused": kernels that write no tile to memory, and an error that says why where
            none fits; None: fused where one does. See `nearfar.kernels.fits`.
        """
        return self._with(options=Options(tile, memory, workers, check_finite, kernel))

    def to_dict(self) -> dict[str, Any]:
        """The name and every field, ready for JSON; see `loss_from_dict`."""
        stated = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in stated.items():
            if isinstance(value, Exclude):
                stated[name] = value.to_dict()
            elif isinstance(value, tuple):
                stated[name] = list(value)
        return {"loss": type(self).__name__} | stated

    @classmethod
    def of_dict(cls, stated: dict[str, Any], **more: Any) -> Self:
        """The loss of what `to_dict` says, without its name."""
        return cls(**stated, **more)

    def __add__(self, other: Any) -> "Loss":
        """A `WeightedSum` of two losses with the same inputs."""
        if not isinstance(other, Loss):
            return NotImplemented
        # Which is made of losses, and so above them.
        total: Loss = registry.COMPOSED["weightedsum"].of(self, other)
        return total

    def __radd__(self, other: Any) -> "Loss":
        # What sum() begins with.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: Any) -> Self:
        """The same loss with its scale multiplied."""
        if isinstance(factor, bool) or not isinstance(factor, Real):
            return NotImplemented
        return self._with(scale=self.scale * float(factor))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        """The call that makes it: temperature or margin, and what is not the default."""
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in in_order(type(self))
            if f.name in _ALWAYS or getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _with(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def _open(self, given: tuple[Any, ...], named: dict[str, Any], demands: bool = True) -> "_Call":
        """The inputs, checked; with `demands` a kernel that is asked for has to fit."""
        given = tuple(map(unwrapped, given))
        named = {name: unwrapped(x) for name, x in named.items()}
        replaced = {name: named.pop(name) for name in self.parameters if name in named}
        owner = type(self).__name__
        bound = arguments.bind(owner, self.inputs, self.optional, given, named, self.keywords)
        floats = [(name, bound[name]) for name in self.embeddings if name in bound]
        ns = namespace_of([*floats, *replaced.items()])
        finite = self.options.check_finite
        embeddings = {
            name: inputs.embeddings(ns, name, x, finite, name in _MAY_BE_EMPTY)
            for name, x in floats
        }
        self._check_shapes(embeddings, bound)
        inputs.refuse_several_devices(ns, embeddings)
        self._check_together(bound)
        known = Call(ns, embeddings, finite, self.stated("candidates") == "both")
        rest = {name: x for name, x in bound.items() if name not in embeddings}
        found = facts.read(known, rest)
        embeddings = self._settled(ns, embeddings, found)
        parameters = self._parameters(ns, replaced)
        learned = [
            replaced[name] for name, p in zip(self.parameters, parameters, strict=True) if p is None
        ]
        arrays = (*embeddings.values(), *found.values(), *learned)
        names = (*embeddings, *found)
        evaluation = self._evaluation(arrays, parameters, names)
        call = _Call(ns, embeddings, arrays, parameters, names, evaluation)
        if demands and self.options.kernel == "fused":
            kernel, reason = call.kernel()
            if kernel is None:
                raise ValueError(
                    f'{owner}: expected a call that a fused kernel takes, with kernel="fused"; '
                    f"received one that none does: {reason}; use with_options(kernel=None), which "
                    "takes tiles there"
                )
        return call

    def _kernel(self, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[bool, str]:
        """See `nearfar.kernels.fits`."""
        kernel, reason = self._open(given, named, demands=False).kernel()
        return kernel is not None, reason

    def _parameters(self, ns: Namespace, replaced: dict[str, Any]) -> tuple[float | None, ...]:
        """Of each parameter a number, or None where the call gives an array."""
        if replaced.get("temperature") is not None and not self.learnable:
            without = "hardness=0" if self.stated("hardness") else 'scale_by="constant"'
            raise ValueError(
                f"{type(self).__name__}: expected no temperature at the call with "
                f"{self._holds_temperature()}; received one: make another loss, "
                f"dataclasses.replace(loss, temperature=...), or state {without}"
            )
        return tuple(
            getattr(self, name)
            if replaced.get(name) is None
            else arguments.parameter(ns, name, replaced[name], self.declarations[name])
            for name in self.parameters
        )

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        """Raise ValueError where the embeddings do not fit each other, or what is given besides."""
        return

    def _check_together(self, given: dict[str, Any]) -> None:
        """Raise TypeError or ValueError where inputs are given that do not go together."""
        exclude: Exclude | None = self.stated("exclude")
        guided = exclude is not None and exclude.by == "guide"
        if guided and "guide" not in given:
            raise TypeError(
                f"{type(self).__name__}: expected guide with {exclude!r}, the guide's embeddings "
                'of the same rows; received none; pass guide=, or by="self"'
            )
        if "guide" in given and not guided:
            raise TypeError(
                f"{type(self).__name__}: expected no guide without a field that reads it; received "
                'one; state exclude=nearfar.Exclude(by="guide")'
            )

    def _settled(
        self, ns: Namespace, embeddings: dict[str, Array], facts: dict[str, Array]
    ) -> dict[str, Array]:
        """The embeddings, once labels and targets are known."""
        return embeddings

    def _evaluation(
        self,
        arrays: tuple[Array, ...],
        parameters: tuple[float | None, ...],
        names: tuple[str, ...],
    ) -> Evaluation:
        """How to compute this loss on checked inputs of these names; a parameter that is None is
        the last of them."""
        raise NotImplementedError

    def _evaluated(self) -> dict[str, Any]:
        """What every evaluation is told, whatever the call."""
        rule = self.rule()
        if not isinstance(rule, self.rules):
            kinds = " or ".join(kind.__name__ for kind in self.rules)
            raise TypeError(
                f"{type(self).__name__}: expected rule() to return a {kinds}, which the family "
                f"{self.family.__name__} is evaluated by; received {type(rule).__name__}; derive "
                "the rule from it, or the loss from another family"
            )
        return {
            "rule": rule,
            "similarity": self.comparison,
            "reduction": Reduction(
                self.reduction,
                self.factor,
                self.stated("average", "anchors"),
                self.stated("without_positives", "skip"),
            ),
            "options": self.options,
        }


class _Call(NamedTuple):
    """The checked inputs of one call."""

    ns: Namespace
    embeddings: dict[str, Array]
    arrays: tuple[Array, ...]
    parameters: tuple[float | None, ...]
    names: tuple[str, ...]
    """Of the arrays, but for those of parameters."""
    evaluation: Any

    def kernel(self) -> tuple[Kernel | None, str]:
        """The fused kernel that computes it, or None, and why."""
        kernel, reason = self.evaluation.kernel(self.ns, self.arrays)
        return kernel, reason or without_kernels(self.ns, self.arrays[0])


def _checked_options(loss: Loss, options: Any) -> Options:
    if not isinstance(options, Options):
        raise TypeError(
            f"{type(loss).__name__}: expected options as loss.options has them; received "
            f"{options!r}; use loss.with_options(tile=..., memory=...)"
        )
    name = type(loss).__name__
    arguments.one_of(name, "check_finite", options.check_finite, (None, True, False))
    arguments.one_of(name, "kernel", options.kernel, (None, "tiles", "fused"))
    return Options(
        arguments.whole("tile", options.tile, optional=True),
        arguments.whole("memory", options.memory, optional=True),
        arguments.whole("workers", options.workers, optional=True),
        options.check_finite,
        options.kernel,
    )


def _restored(cls: type[Loss], stated: dict[str, Any]) -> Loss:
    return cls(**stated)


def loss_from_dict(d: dict[str, Any]) -> Loss:
    """The loss that `Loss.to_dict` described.

    >>> from nearfar import NTXent, loss_from_dict
    >>> loss_from_dict(NTXent(temperature=0.2).to_dict()) == NTXent(temperature=0.2)
    True
    """
    rest = dict(d)
    name = rest.pop("loss", None)
    key = registry.key_of(str(name))
    loss: Any = registry.LOSSES.get(key) or registry.COMPOSED.get(key)
    if loss is None:
        known = [cls.__name__ for cls in registry.LOSSES.values()]
        near = arguments.nearest(str(name), known)
        raise ValueError(
            f"expected d['loss'] to be one of {', '.join(sorted(known))}; received {name!r}"
            + (f"; did you mean {near}?" if near else "")
            + "; a loss of your own is known once the module that defines it is imported"
        )
    unknown = sorted(set(rest) - set(loss.declarations) - set(loss.also_written))
    if unknown:
        raise ValueError(
            f"expected fields of {loss.__name__} in d, received also {', '.join(unknown)}; "
            "was it written by another version of nearfar?"
        )
    found: Loss = loss.of_dict(rest)
    return found


def _stated(text: str, names: tuple[str, ...]) -> str:
    """A statement, and the names of the inputs that it is called with."""
    return f"{' '.join(names)}\n{text}"


def _rebuild(statement: Statement, arrays: tuple[Array, ...]) -> Evaluation:
    names, _, text = statement.text.partition("\n")
    stated = json.loads(text)
    loss = registry.by_key(stated.pop("loss"))
    options = Options(*stated.pop("options"))
    found: Loss = loss.of_dict(stated, options=options)
    return found._evaluation(arrays, statement.parameters, tuple(names.split(" ")))


register_rebuild(_rebuild)
