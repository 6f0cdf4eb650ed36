"""The modes compare float64, which JAX has only when told so."""

import jax

jax.config.update("jax_enable_x64", True)
