"""What PyTorch users need around a loss."""

from nearfar.extras import explained

try:
    from nearfar.torch.cached import cached_embeddings, cached_step
    from nearfar.torch.metric_learning import PMLLoss
    from nearfar.torch.module import Loss
    from nearfar.torch.momentum import update_momentum
    from nearfar.torch.open_clip import OpenCLIPLoss
except ModuleNotFoundError as error:
    raise explained(error, "nearfar.torch", "torch") from None

__all__ = ["Loss", "OpenCLIPLoss", "PMLLoss", "cached_embeddings", "cached_step", "update_momentum"]
