"""Each operation on JAX's arrays is a program of its own, compiled once and run once."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _quick_to_compile():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
