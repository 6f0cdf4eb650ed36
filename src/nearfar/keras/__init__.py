"""Losses for Keras models, on any of its backends."""

from nearfar.extras import explained

try:
    from nearfar.keras.layer import LossLayer
    from nearfar.keras.loss import Loss
except ModuleNotFoundError as error:
    raise explained(error, "nearfar.keras", "keras") from None

__all__ = ["Loss", "LossLayer"]
