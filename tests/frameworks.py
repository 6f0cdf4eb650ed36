"""The frameworks under test: a further one is one class and one entry of FRAMEWORKS."""

import numpy as np
import torch

FLOAT_DTYPES = ("float32", "float64")


class NumPy:
    name = "numpy"
    half_dtypes = ("float16",)
    # Calling a loss gives its value; derivatives come from value_and_grad, for upstream 1.
    differentiable = False

    def asarray(self, x, dtype="float64"):
        return np.asarray(x, dtype=dtype)

    def labels(self, x):
        return np.asarray(x)

    def to_numpy(self, x) -> np.ndarray:
        return np.asarray(x, dtype=np.float64)

    def dtype(self, x) -> str:
        return str(x.dtype)

    def owns(self, x) -> bool:
        """Of this framework; NumPy's scalars are generics, its vectors arrays."""
        return isinstance(x, np.generic if np.ndim(x) == 0 else np.ndarray)

    def differentiate(self, loss, inputs, *labels, upstream=1.0, **options):
        """Value, and the gradient of upstream * value by each of `inputs`."""
        value, gradients = loss.value_and_grad(*inputs, *labels, **options)
        return value, [g if upstream == 1.0 else (upstream * g).astype(g.dtype) for g in gradients]


class Torch:
    name = "torch"
    half_dtypes = ("float16", "bfloat16")
    differentiable = True

    def __init__(self):
        accelerator = torch.accelerator.is_available()
        self.device = torch.accelerator.current_accelerator() if accelerator else "cpu"

    def asarray(self, x, dtype="float64"):
        device = "cpu" if (str(self.device), dtype) == ("mps", "float64") else self.device
        return torch.tensor(np.array(x, order="C"), dtype=getattr(torch, dtype), device=device)

    def labels(self, x):
        x = np.asarray(x)
        return x if x.dtype.kind == "U" else torch.tensor(x, device=self.device)

    def to_numpy(self, x) -> np.ndarray:
        return x.detach().double().cpu().numpy()

    def dtype(self, x) -> str:
        return str(x.dtype).removeprefix("torch.")

    def owns(self, x) -> bool:
        return isinstance(x, torch.Tensor)

    def differentiate(self, loss, inputs, *labels, upstream=1.0, **options):
        """As above; upstream may be a vector where the value is one."""
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        value = loss(*leaves, *labels, **options)
        upstream = torch.as_tensor(upstream, dtype=value.dtype, device=value.device)
        gradients = torch.autograd.grad(value, leaves, upstream.expand(value.shape))
        return value.detach(), gradients


FRAMEWORKS = {framework.name: framework for framework in (NumPy(), Torch())}
