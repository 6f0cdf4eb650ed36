"""What each loss says: formula, source and fields; one file per family, no loop, no framework."""

from nearfar.losses.base import LOSSES, Loss, key_of, loss_from_dict
from nearfar.losses.batchtriplet import BatchTriplet
from nearfar.losses.clip import CLIP
from nearfar.losses.dcl import DCL
from nearfar.losses.hcl import HCL
from nearfar.losses.infonce import InfoNCE
from nearfar.losses.ntxent import NTXent
from nearfar.losses.pairmargin import PairMargin
from nearfar.losses.siglip import SigLIP
from nearfar.losses.supcon import SupCon
from nearfar.losses.supcr import RankNContrast, SupCR
from nearfar.losses.triplet import Triplet

__all__ = [
    "CLIP",
    "DCL",
    "HCL",
    "LOSSES",
    "BatchTriplet",
    "InfoNCE",
    "Loss",
    "NTXent",
    "PairMargin",
    "RankNContrast",
    "SigLIP",
    "SupCR",
    "SupCon",
    "Triplet",
    "key_of",
    "loss_from_dict",
]
