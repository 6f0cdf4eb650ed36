"""What devices tell each other of a loss, and who computes what of it.

A device's gradient is that of the whole value by its own rows: it is computed with the value, and
only multiplied where JAX asks for it. Parameters, and what all devices hold whole, get a part from
every device, which JAX adds up.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nearfar.evaluate import Options, PartitionEvaluation
from nearfar.evaluate.partition import strip
from nearfar.evaluate.rows.evaluation import RowEvaluation
from nearfar.frameworks import Block
from nearfar.frameworks.jax import NAMESPACE
from nearfar.losses import Loss

Gradients = dict[str, jax.Array]
"""Of embeddings and of parameters, by name."""


class Task(NamedTuple):
    """What is computed, without the arrays."""

    loss: Loss
    options: Options
    """Those of the loss, which are no part of its equality."""
    axes: tuple[str, ...]
    devices: int
    tree: Any
    """How the arrays are the inputs by name."""
    shared: tuple[str, ...]
    """Inputs that every device holds whole."""
    learned: tuple[str, ...]
    """Parameters that are the last of the arrays."""
    numbers: tuple[tuple[str, float], ...]
    """Parameters that are numbers."""
    tracked: bool
    """Whether types tell what differs between devices, so that one value counts once."""

    def inputs(self, arrays: tuple[jax.Array, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs and parameters by name."""
        rows = arrays[: len(arrays) - len(self.learned)]
        learned = dict(zip(self.learned, arrays[len(rows) :], strict=True))
        return jax.tree.unflatten(self.tree, rows), dict(self.numbers) | learned

    def gathered(self, x: jax.Array) -> jax.Array:
        return jax.lax.all_gather(x, self.axes, tiled=True)

    @property
    def number(self) -> jax.Array:
        """Of this device."""
        return jax.lax.axis_index(self.axes)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _value(task: Task, *arrays: jax.Array) -> jax.Array:
    return _computed(task, arrays, gradient=False)[0]


def _forward(task: Task, *arrays: jax.Array) -> tuple[jax.Array, Any]:
    found, gradients = _computed(task, arrays, gradient=True)
    return found, (arrays, gradients)


def _backward(task: Task, kept: Any, upstream: jax.Array) -> tuple[Any, ...]:
    arrays, gradients = kept
    if not task.tracked:
        # Every device has a value of its own, which is that of the whole batch.
        upstream = jax.lax.psum(upstream, task.axes)
    inputs, parameters = task.inputs(arrays)

    def one(name: str, x: jax.Array) -> Any:
        if name in gradients:
            return jnp.reshape(gradients[name] * upstream, x.shape).astype(x.dtype)
        if jnp.issubdtype(x.dtype, jnp.floating):
            return jnp.zeros_like(x)
        return np.zeros(x.shape, dtype=jax.dtypes.float0)

    rows = {name: jax.tree.map(partial(one, name), x) for name, x in inputs.items()}
    return (*jax.tree.leaves(rows), *(one(name, parameters[name]) for name in task.learned))


_value.defvjp(_forward, _backward)
value = jax.jit(_value, static_argnums=0)


def _computed(
    task: Task, arrays: tuple[jax.Array, ...], gradient: bool
) -> tuple[jax.Array, Gradients]:
    """The value, the same on every device, and what this one computes of the gradients."""
    own, parameters = task.inputs(arrays)
    inputs = {
        name: x if name in task.shared else jax.tree.map(task.gathered, x)
        for name, x in own.items()
    }
    loss = task.loss.with_options(**task.options._asdict())
    call = loss._open((), inputs | parameters)
    # An evaluation by rows has anchors to share out, and proxies are none.
    in_parts = set(call.names) <= {*loss.embeddings, "labels", "targets"} - {"proxies"}
    if in_parts and isinstance(call.evaluation, PartitionEvaluation):
        found, gradients = _by_strips(task, call, gradient)
    elif in_parts and isinstance(call.evaluation, RowEvaluation):
        found, gradients = _by_shares(task, call, gradient)
    else:
        found, gradients = _everything(task, loss, inputs, parameters, gradient)
    return jax.lax.pmean(found, task.axes), gradients


def _by_strips(task: Task, call: Any, gradient: bool) -> tuple[jax.Array, Gradients]:
    """The own anchors' sums against all rows, and all anchors' gathered."""
    names = list(call.embeddings)
    size = call.arrays[0].shape[0] // task.devices
    # The own rows first, then those of the devices behind: one program serves all devices.
    numbers = [(task.number + k) % task.devices for k in range(task.devices)]
    shares = [Block(number * size, size) for number in numbers]

    def complete(parts: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        every = task.gathered(jnp.stack(parts, axis=1))
        return tuple(every[:, k] for k in range(len(parts)))

    found = strip(call.evaluation, NAMESPACE, call.arrays, shares, 0, complete, gradient)
    gradients = dict(zip(names, found.gradients, strict=False))
    if found.by_temperature is not None:
        gradients |= dict.fromkeys(task.learned, found.by_temperature)
    return found.value, gradients


def _by_shares(task: Task, call: Any, gradient: bool) -> tuple[jax.Array, Gradients]:
    """The own anchors' terms, and their gradients for everybody's rows, sent to whose they are."""
    names, learned = list(call.embeddings), len(task.learned)
    evaluation = replace(call.evaluation, share=(task.number, task.devices))
    places = range(len(call.arrays))
    differentiated = {*range(len(names)), *places[len(places) - learned :]}
    part = evaluation.partial(
        NAMESPACE, call.arrays, tuple(gradient and k in differentiated for k in places)
    )
    loss, terms = jax.lax.psum((part.loss, part.terms), task.axes)
    factor = evaluation.reduction.factor(NAMESPACE, terms, part.usable)
    if not gradient:
        return loss * factor, {}
    gradients = {
        name: factor
        * (
            g
            if name in task.shared
            else jax.lax.psum_scatter(g, task.axes, scatter_dimension=0, tiled=True)
        )
        for name, g in zip(names, part.gradients, strict=False)
    }
    slopes = part.gradients[len(places) - learned :]
    return loss * factor, gradients | {
        name: factor * slope for name, slope in zip(task.learned, slopes, strict=True)
    }


def _everything(
    task: Task, loss: Loss, inputs: dict[str, Any], parameters: dict[str, Any], gradient: bool
) -> tuple[jax.Array, Gradients]:
    """The whole loss on every device."""
    if not gradient:
        return loss(**inputs, **parameters), {}
    found, slopes = loss.value_and_grad(**inputs, **parameters)
    names = [name for name in loss.embeddings if name in inputs]

    def own(name: str, g: jax.Array) -> jax.Array:
        if name not in names or name in task.shared:
            return g / task.devices
        size = g.shape[0] // task.devices
        return jax.lax.dynamic_slice_in_dim(g, task.number * size, size)

    each = zip((*names, *task.learned), slopes, strict=True)
    return found, {name: own(name, g) for name, g in each}
