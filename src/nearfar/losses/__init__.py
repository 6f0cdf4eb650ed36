"""What each loss says: formula, source and fields; no loop, no framework.

A loss of one's own derives from a family and declares its fields with `choice`, `positive`,
`number` and `from_zero`; see docs/write-a-loss.md.
"""

from nearfar.losses.alignment import Alignment
from nearfar.losses.angle import AnglE
from nearfar.losses.arcface import ArcFace
from nearfar.losses.barlowtwins import BarlowTwins
from nearfar.losses.base import Loss
from nearfar.losses.batchtriplet import BatchTriplet
from nearfar.losses.circle import Circle
from nearfar.losses.clip import CLIP
from nearfar.losses.composed import Composed
from nearfar.losses.cosent import CoSENT
from nearfar.losses.cosface import CosFace
from nearfar.losses.dcl import DCL
from nearfar.losses.exclude import Exclude
from nearfar.losses.families import (
    GivenPairs,
    GivenTriplets,
    Queries,
    TwoSides,
    TwoViews,
)
from nearfar.losses.families_at_once import RowsAlone, ScoredPairs, ViewsAlone
from nearfar.losses.families_of_grades import GradedRows
from nearfar.losses.families_of_labels import LabelledRows, RankedRows
from nearfar.losses.families_of_proxies import AgainstProxies
from nearfar.losses.fields import (
    choice,
    excluding,
    from_zero,
    number,
    off_or_positive,
    positive,
    several,
)
from nearfar.losses.hcl import HCL
from nearfar.losses.infonce import InfoNCE
from nearfar.losses.koleo import KoLeo
from nearfar.losses.lifted import Lifted
from nearfar.losses.matryoshka import Matryoshka
from nearfar.losses.multisimilarity import MultiSimilarity
from nearfar.losses.normalizedsoftmax import NormalizedSoftmax
from nearfar.losses.npair import NPair
from nearfar.losses.ntxent import NTXent
from nearfar.losses.pairmargin import PairMargin
from nearfar.losses.proxyanchor import ProxyAnchor
from nearfar.losses.proxynca import ProxyNCA
from nearfar.losses.registry import LOSSES, key_of
from nearfar.losses.restored import loss_from_dict
from nearfar.losses.siglip import SigLIP
from nearfar.losses.smoothap import SmoothAP
from nearfar.losses.softcontrastive import SoftContrastive
from nearfar.losses.softtriple import SoftTriple
from nearfar.losses.supcon import SupCon
from nearfar.losses.supcr import RankNContrast, SupCR
from nearfar.losses.triplet import Triplet
from nearfar.losses.uniformity import Uniformity
from nearfar.losses.vicreg import VICReg
from nearfar.losses.views import flatten_views
from nearfar.losses.weightedsum import WeightedSum

__all__ = [
    "CLIP",
    "DCL",
    "HCL",
    "LOSSES",
    "AgainstProxies",
    "Alignment",
    "AnglE",
    "ArcFace",
    "BarlowTwins",
    "BatchTriplet",
    "Circle",
    "CoSENT",
    "Composed",
    "CosFace",
    "Exclude",
    "GivenPairs",
    "GivenTriplets",
    "GradedRows",
    "InfoNCE",
    "KoLeo",
    "LabelledRows",
    "Lifted",
    "Loss",
    "Matryoshka",
    "MultiSimilarity",
    "NPair",
    "NTXent",
    "NormalizedSoftmax",
    "PairMargin",
    "ProxyAnchor",
    "ProxyNCA",
    "Queries",
    "RankNContrast",
    "RankedRows",
    "RowsAlone",
    "ScoredPairs",
    "SigLIP",
    "SmoothAP",
    "SoftContrastive",
    "SoftTriple",
    "SupCR",
    "SupCon",
    "Triplet",
    "TwoSides",
    "TwoViews",
    "Uniformity",
    "VICReg",
    "ViewsAlone",
    "WeightedSum",
    "choice",
    "excluding",
    "flatten_views",
    "from_zero",
    "key_of",
    "loss_from_dict",
    "number",
    "off_or_positive",
    "positive",
    "several",
]
