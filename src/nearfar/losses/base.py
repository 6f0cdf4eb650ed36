"""What all losses share: a frozen statement of a convention, called on arrays."""

import json
from collections.abc import Mapping
from dataclasses import InitVar, field, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nearfar.evaluate import Options, Reduction
from nearfar.frameworks import Array
from nearfar.losses import arguments, registry
from nearfar.losses.called import Called
from nearfar.losses.declared import in_order
from nearfar.losses.exclude import Exclude
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


class Loss(Called, family=True):
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

    rules: ClassVar[tuple[type, ...]]
    """Kinds of rules that the family is evaluated by."""
    also_written: ClassVar[tuple[str, ...]] = ()
    """What `to_dict` writes beside fields."""
    least_features: ClassVar[int] = 1
    """How many features its embeddings have at least."""
    __array_ufunc__: ClassVar[None] = None
    """So that a number of NumPy times a loss is the loss's to multiply."""
    _settings: ClassVar[Mapping[str, Any]]

    scale: float = number(1.0)
    reduction: str = choice("mean", "sum", "none")
    if not TYPE_CHECKING:
        # No field, so that it is no part of the statement; yet `dataclasses.replace` takes it on.
        options: InitVar[Options] = field(default=Options())

    def __post_init__(self, options: Options) -> None:  # type: ignore[override]
        for name, allowed in self.declarations.items():
            value = checked(type(self).__name__, name, getattr(self, name), allowed)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "options", _checked_options(self, options))
        self.check()
        ready = {
            "_settings": self._evaluated(),
            "_plans": {},
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
        plan, arrays = self._ready(inputs, named)
        if plan.prepared is not None:
            return plan.glue.attach_prepared(plan.prepared, arrays)
        return plan.glue.attach(plan.evaluation, plan.statement, arrays)

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
        plan, arrays = self._ready(inputs, named)
        chosen, wanted = plan.wanted(wrt)
        if plan.prepared is not None:
            value, found = plan.glue.prepared_value_and_grad(plan.prepared, arrays, wanted)
        else:
            value, found = plan.glue.value_and_grad(plan.evaluation, arrays, wanted)
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
