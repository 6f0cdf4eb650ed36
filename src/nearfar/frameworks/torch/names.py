"""PyTorch under array-API names; where PyTorch's own function says the same, without a wrapper.

A small batch is a hundred small operations, of which the wrappers would take a third.
"""

from array_api_compat.torch import *  # noqa: F403
from torch import ones_like as ones_like
from torch import reshape as reshape
from torch import sum as sum
from torch import where as where
from torch import zeros_like as zeros_like

# A door to C++ classes, into which doctest cannot look.
del classes  # type: ignore[name-defined]  # noqa: F821
