"""JAX: pure operations and a custom gradient under `jit`."""

from nearfar.frameworks.jax.glue import GLUE
from nearfar.frameworks.jax.namespace import NAMESPACE

__all__ = ["GLUE", "NAMESPACE"]
