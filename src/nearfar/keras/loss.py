"""A loss for `compile`: the model's output against `y_true`."""

from dataclasses import replace
from typing import Any, Self

import keras
import numpy as np

from nearfar.keras.replicas import everybodys, scaled
from nearfar.losses import Loss as Statement
from nearfar.losses import loss_from_dict
from nearfar.losses.families import TwoViews
from nearfar.losses.learned import statement


@keras.saving.register_keras_serializable(package="nearfar")
class Loss(keras.losses.Loss):  # type: ignore[misc]
    """A nearfar loss as a ``keras.losses.Loss``, saved and loaded with its model.

    The model's output is what the loss compares:

    - embeddings (n, d) for losses of labels or targets, which come as ``y_true``, (n,), (n, 1) or
      several columns;
    - (n, 2, d) for losses of two views or sides, (n, 3, d) for triplets: row i holds what belongs
      together, and ``y_true`` is not looked at.

    Labels keep their dtype here, where Keras would make float32 of them, which has no numbers
    between 2^24 and 2^24 + 2. Keras itself makes float32 of the floats that `fit` is given: give
    whole numbers as integers, and times from a near origin.

    ``sample_weight`` (and `fit`'s ``class_weight``) weighs the anchors: with weights w and terms l
    the mean is sum w l / k, k the anchors that count, as Keras weighs other losses. Weights of 1
    change nothing. The two anchors of a pair of views share its weight.

    Under a `tf.distribute` strategy the loss is that of the rows of all replicas, which each
    computes; what the loss takes besides (ids, a reference, proxies) goes into a `LossLayer`.

    Parameters
    ----------
    loss
        Any nearfar loss. ``reduction="none"`` is the mean here: Keras averages.
    name
        For Keras' logs; the loss's own by default.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        At the call: for outputs and weights of another shape.
    """

    def __init__(self, loss: Statement, name: str | None = None) -> None:
        self.loss = statement(loss)
        super().__init__(name=name or type(loss).__name__.lower(), reduction="sum_over_batch_size")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        with keras.name_scope(self.name):
            y_pred = keras.ops.convert_to_tensor(y_pred, dtype=self.dtype)
            if len(self._parts()) == 1:
                y_true = everybodys(y_true)
            y_pred = everybodys(y_pred)
            if sample_weight is None:
                return scaled(self.call(y_true, y_pred))
            weights = everybodys(sample_weight)
            return scaled(self._weighted(self._inputs(y_true, y_pred), weights))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._whole()(*self._inputs(y_true, y_pred))

    def _whole(self) -> Statement:
        none = self.loss.reduction == "none"
        return replace(self.loss, reduction="mean") if none else self.loss

    def _parts(self) -> list[str]:
        """What y_pred holds."""
        return [name for name in self.loss.embeddings if name not in self.loss.optional]

    def _inputs(self, y_true: Any, y_pred: Any) -> tuple[Any, ...]:
        parts = self._parts()
        count = len(parts)
        if count == 1:
            return y_pred, _labels(y_true)
        shape = tuple(y_pred.shape)
        if len(shape) != 3 or shape[1] != count:
            raise ValueError(
                f"expected y_pred of shape (n, {count}, d) for {type(self.loss).__name__}, called "
                f"with {', '.join(parts)}; received {shape}; stack them along axis 1"
            )
        return tuple(y_pred[:, k] for k in range(count))

    def _weighted(self, inputs: tuple[Any, ...], weights: Any) -> Any:
        ops = keras.ops
        terms = replace(self.loss, reduction="none")(*inputs)
        if isinstance(self.loss, TwoViews) and self.loss.stated("anchors") != "first":
            terms = ops.sum(ops.reshape(terms, (2, -1)), axis=0)
        weights = ops.reshape(ops.convert_to_tensor(weights, dtype=terms.dtype), (-1,))
        sizes = terms.shape[0], weights.shape[0]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f"expected sample_weight of shape ({sizes[0]},), one weight a row of y_pred; "
                f"received {sizes[1]} weights"
            )
        total = ops.sum(weights * terms)
        if self.loss.reduction == "sum":
            return total
        # The loss alone knows how many anchors count.
        mean, alike = self._whole()(*inputs), ops.sum(terms)
        known = mean != 0
        count = ops.where(known, alike, 1) / ops.where(known, mean, 1)
        return total / ops.stop_gradient(count)

    def get_config(self) -> dict[str, Any]:
        return {"loss": self.loss.to_dict(), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(loss_from_dict(config["loss"]), name=config["name"])


def _labels(y_true: Any) -> Any:
    """Labels as they came; a column (n, 1), which Keras makes of them, as (n,)."""
    if isinstance(y_true, list | tuple | np.ndarray):
        y_true = np.asarray(y_true)
        return y_true.ravel() if y_true.shape[1:] == (1,) else y_true
    if "str" in str(y_true.dtype):
        raise TypeError(
            f"expected y_true to hold numbers; received dtype {y_true.dtype}; make class numbers "
            "of text first, for instance numpy.unique(labels, return_inverse=True)[1]"
        )
    column = len(y_true.shape) == 2 and y_true.shape[1] == 1
    return keras.ops.reshape(y_true, (-1,)) if column else y_true
