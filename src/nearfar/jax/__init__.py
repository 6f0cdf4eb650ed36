"""What JAX users need around a loss."""

from nearfar.extras import explained

try:
    from nearfar.jax.mapped import Sharded, sharded
except ModuleNotFoundError as error:
    raise explained(error, "nearfar.jax", "jax") from None

__all__ = ["Sharded", "sharded"]
