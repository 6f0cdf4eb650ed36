"""Contrastive losses: every convention explicit, every framework, any batch size, exact.

>>> import numpy as np
>>> import nearfar as nf
>>> a = np.array([[1.0, 0.0], [0.0, 1.0]])
>>> b = np.array([[1.0, 0.1], [0.2, 1.0]])
>>> loss = nf.NTXent(temperature=0.5)
>>> value, (grad_a, grad_b) = loss.value_and_grad(a, b)
>>> print(f"{value:.4f}")
0.3220
"""

from typing import Any as _Any

from nearfar import (
    distances,
    divergences,
    kernels,
    losses,
    metrics,
    presets,
    queue,
    rules,
    samplers,
)
from nearfar.losses import (
    CLIP,
    DCL,
    HCL,
    Alignment,
    AnglE,
    ArcFace,
    BarlowTwins,
    BatchTriplet,
    Circle,
    CoSENT,
    CosFace,
    Exclude,
    InfoNCE,
    KoLeo,
    Lifted,
    Loss,
    Matryoshka,
    MultiSimilarity,
    NormalizedSoftmax,
    NPair,
    NTXent,
    PairMargin,
    ProxyAnchor,
    ProxyNCA,
    RankNContrast,
    SigLIP,
    SmoothAP,
    SoftContrastive,
    SoftTriple,
    SupCon,
    SupCR,
    Triplet,
    Uniformity,
    VICReg,
    WeightedSum,
    flatten_views,
    loss_from_dict,
)
from nearfar.losses.arguments import nearest as _nearest
from nearfar.presets import preset

__version__ = "0.1.0"

__all__ = [
    "CLIP",
    "DCL",
    "HCL",
    "Alignment",
    "AnglE",
    "ArcFace",
    "BarlowTwins",
    "BatchTriplet",
    "Circle",
    "CoSENT",
    "CosFace",
    "Exclude",
    "InfoNCE",
    "KoLeo",
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
    "RankNContrast",
    "SigLIP",
    "SmoothAP",
    "SoftContrastive",
    "SoftTriple",
    "SupCR",
    "SupCon",
    "Triplet",
    "Uniformity",
    "VICReg",
    "WeightedSum",
    "__version__",
    "distances",
    "divergences",
    "flatten_views",
    "kernels",
    "loss_from_dict",
    "losses",
    "metrics",
    "preset",
    "presets",
    "queue",
    "rules",
    "samplers",
]

_BY_THEMSELVES = ("check", "datasets", "explain", "jax", "keras", "sklearn", "testing", "torch")
"""Modules that need more than NumPy, or that few need."""


def __getattr__(name: str) -> _Any:
    if name in _BY_THEMSELVES:
        raise AttributeError(f"nearfar.{name} is imported by itself; write: import nearfar.{name}")
    known = [public for public in __all__ if public != "Loss"]
    near = None if name.startswith("_") else _nearest(name, known)
    meant = f"; did you mean {near}?" if near else "; its names are in nearfar.__all__"
    raise AttributeError(f"nearfar has no {name}{meant}")
