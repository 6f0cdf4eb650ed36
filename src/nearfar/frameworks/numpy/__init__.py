"""NumPy: operations in place, threads over tiles."""

from nearfar.frameworks.numpy.glue import GLUE
from nearfar.frameworks.numpy.namespace import NAMESPACE

__all__ = ["GLUE", "NAMESPACE"]
