"""A loss for Keras models, on any of its backends."""

from typing import Any, Self

import keras

from nearfar.losses import Loss as Statement
from nearfar.losses import loss_from_dict

__all__ = ["Loss"]


@keras.saving.register_keras_serializable(package="nearfar")
class Loss(keras.losses.Loss):  # type: ignore[misc]
    """A nearfar loss as a ``keras.losses.Loss``, saved and loaded with its model.

    The model's output is what the loss compares:

    - embeddings (n, d) for losses of labels or targets, which come as ``y_true``, (n,), (n, 1) or
      several columns;
    - (n, 2, d) for losses of two views or sides, (n, 3, d) for triplets: row i holds what belongs
      together, and ``y_true`` is not looked at.

    Parameters
    ----------
    loss
        Any nearfar loss. With ``reduction="none"`` Keras averages, and may weigh the samples.
    name
        For Keras' logs; the loss's own by default.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        At the call: for outputs of another shape, and sample weights without ``reduction="none"``.
    """

    def __init__(self, loss: Statement, name: str | None = None) -> None:
        if not isinstance(loss, Statement):
            raise TypeError(
                f"expected loss to be a nearfar loss; received {type(loss).__name__}; pass for "
                "instance nearfar.SupCon()"
            )
        super().__init__(name=name or type(loss).__name__.lower(), reduction="sum_over_batch_size")
        self.loss = loss

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None and self.loss.reduction != "none":
            raise ValueError(
                "expected no sample_weight: anchors share their terms; received one; to weigh "
                'anchors pass a loss with reduction="none"'
            )
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        parts = self.loss.embeddings
        if len(parts) == 1:
            shape = tuple(y_true.shape)
            column = len(shape) == 2 and shape[1] == 1
            return self.loss(y_pred, keras.ops.reshape(y_true, (-1,)) if column else y_true)
        count = len([name for name in parts if name not in self.loss.optional])
        shape = tuple(y_pred.shape)
        if len(shape) != 3 or shape[1] != count:
            raise ValueError(
                f"expected y_pred of shape (n, {count}, d) for {type(self.loss).__name__}, called "
                f"with {', '.join(parts[:count])}; received {shape}; stack them along axis 1"
            )
        return self.loss(*(y_pred[:, k] for k in range(count)))

    def get_config(self) -> dict[str, Any]:
        return {"loss": self.loss.to_dict(), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(loss_from_dict(config["loss"]), name=config["name"])
