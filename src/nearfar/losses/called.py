"""What a loss is called with: its inputs by name, checked and made ready for an evaluation."""

from collections.abc import Mapping
from operator import is_
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from nearfar.evaluate import Options, without_kernels
from nearfar.frameworks import (
    Array,
    Evaluation,
    Glue,
    Kernel,
    Namespace,
    Prepared,
    Statement,
    glue_of,
    namespace_of,
    signature,
    unwrapped,
)
from nearfar.losses import arguments, facts, inputs
from nearfar.losses.declared import Declared
from nearfar.losses.exclude import Exclude
from nearfar.losses.fact_arrays import Call

_MAY_BE_EMPTY = ("reference", "queue")
"""Embeddings that a training begins without."""

_MOST_PLANS = 16


class Called(Declared, family=True):
    """Reads the inputs of a call in one order, whatever the loss; families say what fits."""

    inputs: ClassVar[tuple[str, ...]]
    """Names of the inputs in call order."""
    embeddings: ClassVar[tuple[str, ...]]
    """Those of them that are embeddings and get gradients."""
    optional: ClassVar[tuple[str, ...]] = ()
    keywords: ClassVar[tuple[str, ...]] = ()
    """Names of further facts about rows, which a call may give by name only."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Fields that a call may replace, by a number or by an array that gets a gradient."""
    _plans: ClassVar[dict[Any, "Plan"]]
    _text: ClassVar[str]
    if TYPE_CHECKING:

        @property
        def options(self) -> Options:
            """How it is evaluated; see `with_options`."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        cls.parameters = tuple(x for x in ("temperature", "bias") if x in cls.declarations)

    @property
    def _may_be_none(self) -> tuple[str, ...]:
        """Names of what a call may leave out, which None does as well."""
        return (*self.optional, *self.keywords, *self.parameters)

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

    def stated(self, name: str, otherwise: Any = None) -> Any:
        """The field of this name, which means the same in all losses; `otherwise` without it."""
        return getattr(self, name) if name in self.declarations else otherwise

    def _open(
        self, given: tuple[Any, ...], named: dict[str, Any], demands: bool = True
    ) -> "Opened":
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
        call = Opened(ns, embeddings, arrays, parameters, names, evaluation)
        if demands and self.options.kernel == "fused":
            kernel, reason = call.kernel()
            if kernel is None:
                raise ValueError(
                    f'{owner}: expected a call that a fused kernel takes, with kernel="fused"; '
                    f"received one that none does: {reason}; use with_options(kernel=None), which "
                    "takes tiles there"
                )
        return call

    def _ready(
        self, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple["Plan", tuple[Array, ...]]:
        """How to compute a call, and on which arrays. Of a shape that came before, values alone
        are left to check."""
        if named:
            optional = self._may_be_none
            named = {name: x for name, x in named.items() if x is not None or name not in optional}
        arrays = (*given, *named.values())
        # A parameter comes last, as it does among the arrays of any call.
        known = not named or (len(named) == 1 and self.parameters[:1] == tuple(named))
        key = (len(given), signature(arrays)) if known else (0, None)
        plan = None if key[1] is None else self._plans.get(key)
        if plan is not None:
            if named:
                self._parameters(plan.glue.ns, named)
            if plan.checked:
                for name, x in zip(plan.embeddings, given, strict=False):
                    inputs.refuse_infinite(plan.glue.ns, name, x, True)
            return plan, arrays
        call = self._open(given, named)
        plain = key[1] is None and not set(named) & set(self.parameters)
        in_order = call.names == self.inputs[: len(call.names)]
        if plain and in_order and signature(call.arrays) is not None:
            # By name, in another order of bytes or as lists: the same call, to the last bit.
            return self._ready(call.arrays, {})
        # `restored` takes it apart.
        statement = Statement(f"{' '.join(call.names)}\n{self._text}", call.parameters)
        finite = self.options.check_finite
        many, count = len(call.arrays), len(call.embeddings)
        every = (*range(count), *range(many - call.parameters.count(None), many))
        plan = Plan(
            glue_of(call.ns),
            call.evaluation,
            statement,
            tuple(call.embeddings),
            every,
            tuple(k in every for k in range(many)),
            call.ns.checks_values if finite is None else finite,
        )
        if key[1] is not None and self._may_keep(call, arrays):
            prepared = call.evaluation.prepared(call.ns, call.arrays)
            plan = plan._replace(prepared=prepared)
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan, call.arrays

    def _may_keep(self, call: "Opened", given: tuple[Any, ...]) -> bool:
        """Whether only shapes and finite values decided what became of a call's inputs."""
        facts = call.names[len(call.embeddings) :]
        if self.options.kernel == "fused" or "proxies" in call.embeddings:
            return False
        if facts and facts != ("labels",):
            return False
        # Of other labels it is looked whether one is missing, or which there are.
        known = all(
            len(x.shape) == 1 and (not call.ns.on_host or x.dtype.kind in "biu")
            for x in call.arrays[len(call.embeddings) : len(call.names)]
        )
        same = len(given) == len(call.arrays) and all(map(is_, given, call.arrays))
        return known and same

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


class Plan(NamedTuple):
    """How calls of one shape are computed; it holds no arrays of theirs."""

    glue: Glue
    evaluation: Evaluation
    statement: Statement
    embeddings: tuple[str, ...]
    """Their names."""
    every: tuple[int, ...]
    """Numbers of the arrays that get gradients: embeddings, and parameters that are arrays."""
    whether: tuple[bool, ...]
    """Of each array, whether it is one of these."""
    checked: bool
    """Whether it is asked if embeddings are finite."""
    prepared: Prepared | None = None

    def wanted(self, wrt: tuple[int, ...] | None) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Which arrays get gradients, by their numbers and of each, with these embeddings."""
        if wrt is None:
            return self.every, self.whether
        count = len(self.embeddings)
        chosen = arguments.argument_numbers("wrt", wrt, count) + self.every[count:]
        return chosen, tuple(k in chosen for k in range(len(self.whether)))


class Opened(NamedTuple):
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
