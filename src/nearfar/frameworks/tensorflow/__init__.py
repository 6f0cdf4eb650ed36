"""TensorFlow: pure operations, eager and in graphs."""

from nearfar.frameworks.tensorflow.glue import GLUE
from nearfar.frameworks.tensorflow.namespace import NAMESPACE

__all__ = ["GLUE", "NAMESPACE"]
