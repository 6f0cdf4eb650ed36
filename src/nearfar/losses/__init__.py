"""What each loss says: formula, source and fields; one file per family, no loop, no framework."""

from nearfar.losses.base import LOSSES, Loss, loss_from_dict
from nearfar.losses.infonce import InfoNCE
from nearfar.losses.ntxent import NTXent
from nearfar.losses.supcon import SupCon

__all__ = ["LOSSES", "InfoNCE", "Loss", "NTXent", "SupCon", "loss_from_dict"]
