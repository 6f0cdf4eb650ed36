"""A loss over the rows of all replicas of a `tf.distribute` strategy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from nearfar.losses import Loss, arguments
from nearfar.losses.learned import statement
from nearfar.losses.pools import POOLS, one_value, pools_alone, rows_alike


def replicated(loss: Loss, *, shared: Sequence[str] = ()) -> "Replicated":
    """A nearfar loss of the global batch: the rows of all replicas, in the order of the replicas.

    A loss that is called inside of ``strategy.run`` compares the rows that its replica has, with no
    others. This one gathers those of all replicas first, of which each may have any number::

        def step(a, b):
            with tf.GradientTape() as tape:
                value = nearfar.tensorflow.replicated(nf.NTXent())(encoder(a), encoder(b))
                part = value / strategy.num_replicas_in_sync
            gradients = tape.gradient(part, encoder.trainable_variables)
            optimizer.apply_gradients(zip(gradients, encoder.trainable_variables))
            return value

    Every replica gets the value of the whole batch, and the mean over replicas of the gradients of
    that value is the gradient of the whole, of a temperature and of proxies too. TensorFlow's
    optimizers add gradients up: divide by the number of replicas, as above. `nearfar.keras.Loss`
    and `LossLayer` do all of this by themselves.

    Each replica computes the whole: exact, in O(n d + tile) for n rows in all, and no faster than
    on one device. Outside of ``strategy.run``, and with one replica, it is the loss itself.

    Parameters
    ----------
    loss
        Any nearfar loss with reduction "mean" or "sum".
    shared
        Names of inputs that every replica holds whole: a queue, a reference set. Proxies always
        are; what else is not named is gathered as the rows are.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        For reduction "none", and for names in `shared` of inputs that belong to rows.
    """
    return Replicated(statement(loss), tuple(shared))


@dataclass(frozen=True)
class Replicated:
    """What `replicated` returns; hashable, as its loss is."""

    loss: Loss
    shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_value(self.loss, "replicas")
        pools_alone(self.loss, self.shared, "replica")

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        loss = self.loss
        replaced = {name: named.pop(name) for name in loss.parameters if name in named}
        owner = type(loss).__name__
        given = arguments.bind(owner, loss.inputs, loss.optional, inputs, named, loss.keywords)
        alike = (*self.shared, "proxies")
        whole = {name: given.pop(name) for name in alike if name in given}
        rows = {name: x for name, x in given.items() if name not in POOLS}
        rows_alike({name: _counts(x) for name, x in rows.items()}, "replica")
        return loss(**everybodys(given), **whole, **replaced)


def _counts(rows: Any) -> list[int]:
    """Of the rows of arrays, where they are known."""
    arrays = map(tf.convert_to_tensor, rows if isinstance(rows, tuple) else (rows,))
    return [x.shape[0] for x in arrays if x.shape.rank and x.shape[0] is not None]


def everybodys(rows: Any) -> Any:
    """The rows of all replicas, of an array, a tuple or a dict of them; elsewhere `rows` itself.

    Gradients by them are added up over the replicas, each of which gets its own rows'.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows

    def gathered(x: Any) -> Any:
        x = tf.convert_to_tensor(x)
        # A graph forgets how many features there are, which rows of proxies are held to.
        return tf.ensure_shape(context.all_gather(x, axis=0), (None, *x.shape[1:]))

    if isinstance(rows, dict):
        return {name: everybodys(x) for name, x in rows.items()}
    return tuple(map(gathered, rows)) if isinstance(rows, tuple) else gathered(rows)
