"""JAX: pure operations and a custom gradient under `jit`."""
