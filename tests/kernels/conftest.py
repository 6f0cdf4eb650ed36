"""The kernels on a GPU where there is one, else in Triton's interpreter on the CPU."""

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="session")
def triton_kernels():
    """The package of the kernels, interpreted unless there is a GPU."""
    pytest.importorskip("triton")
    if DEVICE == "cpu":
        from support import interpreter  # noqa: F401
    import nearfar.frameworks.triton as found

    return found


@pytest.fixture
def fused(triton_kernels, monkeypatch):
    """Calls with tensors on the device go to the kernels, in tiles so small that there are several;
    gives the device."""
    from nearfar.frameworks.torch import namespace
    from nearfar.frameworks.triton import partition
    from nearfar.frameworks.triton.problem import Shape, Shapes

    def small(dtype, width, labels):
        shape = Shape(32, 32, min(width, 32), 4, 2)
        return Shapes(shape, shape, shape, *((1, 2) if dtype == torch.bfloat16 else (3, 3)))

    monkeypatch.setattr(namespace, "_FUSED", {DEVICE})
    if DEVICE == "cpu":
        monkeypatch.setattr(partition, "shapes_for", small)
    return DEVICE
