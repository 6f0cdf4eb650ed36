"""What PyTorch users need around a loss."""

from nearfar.torch.cached import cached_step
from nearfar.torch.module import Loss
from nearfar.torch.momentum import update_momentum

__all__ = ["Loss", "cached_step", "update_momentum"]
