"""The measures are compared in float64, which JAX has only when told so."""

import jax
import pytest
from backends import BACKENDS

jax.config.update("jax_enable_x64", True)


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
def backend(request):
    return request.param
