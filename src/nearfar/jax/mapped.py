"""A loss over the rows of all devices, called inside `jax.shard_map` or `jax.pmap`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from nearfar.frameworks.jax.devices import axes_of, varying
from nearfar.jax.exchange import Task, value
from nearfar.losses import Loss, arguments
from nearfar.losses.learned import statement
from nearfar.losses.pools import POOLS, one_value, pools_alone, rows_alike


def sharded(loss: Loss, axis_name: str | Sequence[str], *, shared: Sequence[str] = ()) -> "Sharded":
    """A nearfar loss of the global batch: the rows of all devices, in the order of the axis.

    Inside `jax.shard_map` or `jax.pmap` every device calls it with its own rows, as many on each,
    and gets the value of the whole batch:

        def step(a, b):
            return nearfar.jax.sharded(nf.NTXent(), "data")(a, b)

        mean = jax.shard_map(step, mesh=mesh, in_specs=P("data"), out_specs=P())
        value, gradients = jax.jit(jax.value_and_grad(mean, (0, 1)))(a, b)

    Gradients of the mean over devices of this value are those of the whole batch; a temperature
    or a bias given at the call gets its whole gradient too. Where `jax.grad` is taken inside the
    mapped function, `jax.shard_map` (with ``check_vma``, its default) gives the whole gradient of
    parameters that all devices share; under `jax.pmap`, where devices' gradients are averaged
    afterwards, a device's rows get as many times theirs as there are devices, and the average is
    the whole gradient.

    Losses of partition sums (NTXent, SupCon, HCL, DCL, CLIP) gather embeddings once and sums once;
    the others compute their share of the anchors against all rows and add up what the shares give.
    Memory per device is O(n d + tile) for n rows in all. Where a call says more of its rows than
    labels or targets (ids, weights, a guide, a reference), and for proxies and for losses that are
    made of losses, every device computes the whole.

    Parameters
    ----------
    loss
        Any nearfar loss with reduction "mean" or "sum".
    axis_name
        Name of the mapped axis, or several: the rows are cut over all of them.
    shared
        Names of inputs that every device holds whole: a queue of negatives, a reference set.
        `jax.shard_map` with ``check_vma`` tells these by itself; elsewhere what is not named here
        is cut as the rows are.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss; at the call, as the loss, and for labels that are no numbers.
    ValueError
        For reduction "none"; at the call, as the loss, outside a function mapped over the axis,
        for different numbers of rows of what belongs together, and for rows that are the same on
        every device.
    """
    names = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)
    return Sharded(statement(loss), names, tuple(shared))


@dataclass(frozen=True)
class Sharded:
    """What `sharded` returns; hashable, as its loss is."""

    loss: Loss
    axes: tuple[str, ...]
    shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_value(self.loss, "devices")
        pools_alone(self.loss, self.shared, "device")

    def __call__(self, *inputs: Any, **named: Any) -> jax.Array:
        loss, owner = self.loss, type(self.loss).__name__
        devices = self._devices()
        replaced = {name: named.pop(name) for name in loss.parameters if name in named}
        bound = arguments.bind(owner, loss.inputs, loss.optional, inputs, named, loss.keywords)
        arrays = {name: _as_arrays(name, x) for name, x in bound.items()}
        learned = {name: x for name, x in replaced.items() if isinstance(x, jax.Array)}
        shared = self._whole(arrays)
        _check_rows(arrays, shared)
        leaves, tree = jax.tree.flatten(arrays)
        every = (*leaves, *learned.values())
        every = varying(every, frozenset(self.axes).union(axes_of(*every)))
        task = Task(
            loss=loss,
            options=loss.options,
            axes=self.axes,
            devices=devices,
            tree=tree,
            shared=shared,
            learned=tuple(learned),
            numbers=tuple((name, x) for name, x in replaced.items() if name not in learned),
            tracked=set(self.axes) <= axes_of(every[0]),
        )
        return value(task, *every)

    def _devices(self) -> int:
        try:
            return int(jax.lax.psum(1, self.axes))
        except NameError as error:
            raise ValueError(
                f"expected a call inside jax.shard_map or jax.pmap over {' and '.join(self.axes)}; "
                f"received one outside: {error}; there call the loss itself"
            ) from error

    def _whole(self, arrays: dict[str, Any]) -> tuple[str, ...]:
        """The inputs that every device holds whole."""
        first = arrays[self.loss.embeddings[0]]
        pools = {name: arrays[name] for name in POOLS if name in arrays}
        if "negatives" in pools and pools["negatives"].ndim > first.ndim:
            del pools["negatives"]  # each query's own
        if not set(self.axes) <= axes_of(varying(jnp.zeros(()), frozenset(self.axes))):
            return tuple(name for name in pools if name in self.shared)
        alike = {
            name: not axes_of(*jax.tree.leaves(x)).intersection(self.axes)
            for name, x in arrays.items()
        }
        rows = [name for name in self.loss.embeddings if name in arrays and name not in pools]
        if any(alike[name] for name in rows):
            raise ValueError(
                f"expected {' and '.join(rows)} to differ from device to device over "
                f"{' and '.join(self.axes)}; received the same rows on all; give each device its "
                f"own, in_specs=P({', '.join(map(repr, self.axes))}), or call the loss itself"
            )
        return tuple(name for name in pools if alike[name] or name in self.shared)


def _as_arrays(name: str, x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(_as_arrays(name, each) for each in x)
    try:
        array = jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"expected {name} to be numbers, which can be sent to other devices; received "
            f"{type(x).__name__}: {error}; number the classes, alike on all devices"
        ) from error
    if array.ndim == 0:
        raise ValueError(
            f"expected {name} with one row for each of this device's; received a single number; "
            "give an array"
        )
    return array


def _check_rows(arrays: dict[str, Any], shared: tuple[str, ...]) -> None:
    """What belongs together has one number of rows on a device, and so on all."""
    sizes = {
        name: {each.shape[0] for each in jax.tree.leaves(x)}
        for name, x in arrays.items()
        if name not in (*shared, *POOLS)
    }
    rows_alike(sizes, "device")
