"""What TensorFlow users need around a loss."""

from nearfar.extras import explained

try:
    from nearfar.tensorflow.replicas import Replicated, everybodys, replicated
except ModuleNotFoundError as error:
    raise explained(error, "nearfar.tensorflow", "tensorflow") from None

__all__ = ["Replicated", "everybodys", "replicated"]
