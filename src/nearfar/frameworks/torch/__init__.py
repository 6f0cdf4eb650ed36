"""PyTorch: operations in place and pure ones, autograd and the compiler."""

from nearfar.frameworks.torch.glue import GLUE
from nearfar.frameworks.torch.namespace import NAMESPACE
from nearfar.frameworks.torch.precision import full_precision

__all__ = ["GLUE", "NAMESPACE", "full_precision"]
