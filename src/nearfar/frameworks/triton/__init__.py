"""Fused kernels for PyTorch's tensors on a GPU; nothing else imports Triton.

`kernel` says what they fit, `partition`, `queries` and `tiled` launch them, `rule` makes one more
of a loss's rule, and `kernels` holds the others.
"""

from nearfar.frameworks.triton.kernel import KERNEL

__all__ = ["KERNEL"]
