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

from nearfar import distances, divergences, metrics, presets, queue, samplers
from nearfar.losses import (
    CLIP,
    DCL,
    HCL,
    BatchTriplet,
    InfoNCE,
    Loss,
    NTXent,
    PairMargin,
    RankNContrast,
    SigLIP,
    SupCon,
    SupCR,
    Triplet,
    loss_from_dict,
)
from nearfar.presets import preset

__version__ = "0.1.0"

__all__ = [
    "CLIP",
    "DCL",
    "HCL",
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
    "__version__",
    "distances",
    "divergences",
    "loss_from_dict",
    "metrics",
    "preset",
    "presets",
    "queue",
    "samplers",
]
