"""Shared by all tests. torch comes first: TensorFlow, imported before it, has crashed it."""

import os
from importlib.util import find_spec

# Two test processes on two cores: threads of their own would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# JAX compiles each program, and each operation of eager code, for a test that runs it once.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import torch  # isort: skip
import pytest

if not torch.cuda.is_available():
    # Triton reads it when it is first imported, which PyTorch's compiler may do.
    os.environ["TRITON_INTERPRET"] = "1"
if find_spec("triton"):
    # TensorFlow, imported before it, ends the process: both bring an LLVM of their own.
    import triton  # noqa: F401

pytest.register_assert_rewrite("support")

from support.backends import BACKENDS, FLOAT_DTYPES, FRAMEWORKS  # noqa: E402

# Helpers hold no tests, and some want packages or machines that few have; programs that tests
# start set up JAX and TensorFlow for many devices when they are imported.
collect_ignore_glob = ["support/*", "distributed/[!t]*.py", "modes/several_devices.py"]


def pytest_itemcollected(item):
    """A name that tells where an object lies is another one in every process of a run."""
    if " at 0x" in item.nodeid:
        raise pytest.UsageError(f"{item.nodeid}: give ids= that are the same in every process")


@pytest.fixture(params=FRAMEWORKS.values(), ids=FRAMEWORKS)
def framework(request):
    return request.param


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def optimised():
    """JAX's programs as its users have them."""
    import jax

    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(params=FLOAT_DTYPES)
def dtype(request):
    return request.param
