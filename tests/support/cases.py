"""The one registry of losses under test: what says each loss's value, and what it is tried on.

A loss of the library without an entry here is a red test; see tests/common.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from oracles import (
    batchtriplet,
    circle,
    clip,
    conventions,
    dense,
    hcl,
    infonce,
    lifted,
    moments,
    multisimilarity,
    npair,
    ntxent,
    pairmargin,
    proxies,
    scoredpairs,
    siglip,
    smoothap,
    softcontrastive,
    spread,
    supcon,
    supcr,
    triplet,
)

import nearfar as nf
from nearfar.testing.batches import batches


@dataclass(frozen=True)
class Case:
    """A statement and what it is called with, several tiles long and without symmetry."""

    loss: nf.Loss
    embeddings: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A loss: the paper's loops, its differentiable formula, its conventions, and cases."""

    loops: Callable[..., Any]
    """float64 loops over lists, which share no code with the library."""
    dense: Callable[..., Any] | None
    """The same with n x n arrays of PyTorch, held to the loops, where tests need it."""
    fields: dict[str, Any]
    """Every field with its default."""
    others: dict[str, Any]
    """Fields of a statement that is far from the default."""
    conventions: list[dict[str, Any]]
    """Fields that state it, every way."""
    cases: Mapping[str, Case] = field(repr=False)
    not_in_presets: str = ""
    """Why no public implementation equals it, where none does."""
    not_in_check: str = ""
    """Why `nearfar check` does not know it, where it does not."""
    not_distributed: str = ""
    """Why `nearfar.torch.distributed` refuses it, where it does."""


_RNG = np.random.default_rng(11)
X = _RNG.normal(size=(21, 5)) * _RNG.uniform(0.5, 2, (21, 1))
LABELS = _RNG.integers(0, 5, 21)
LABELS[4:12], LABELS[20] = 7, 9  # a class larger than a tile, and a single row
A, B, C = X[:10], X[10:20], X[5:15]
MANY = (_RNG.random((21, 4)) < 0.3).astype(np.int64)
TARGETS = _RNG.integers(0, 12, 21) / 4  # some tie
QUEUE, OWN = _RNG.normal(size=(13, 5)), _RNG.normal(size=(10, 3, 5))
CLASSES = np.random.default_rng(12).integers(0, 5, 21)
PROXIES = np.random.default_rng(13).normal(size=(7, 5))
CENTRES = np.random.default_rng(14).normal(size=(7, 3, 5))
SEVERAL_TARGETS = _RNG.integers(0, 3, (21, 2))
GIVEN = np.where(_RNG.random((21, 21)) < 0.7, _RNG.random((21, 21)), 0.0)

LOSSES = {
    "NTXent": Entry(
        fields={
            "temperature": 0.5,
            "similarity": "cosine",
            "same": "ignore",
            "exclude": None,
            "denominator": "all",
            "include_self": False,
            "anchors": "both",
            "hardness": 0.0,
            "scale": 1.0,
            "scale_by": "constant",
            "reduction": "mean",
        },
        others={"temperature": 0.1, "include_self": True, "anchors": "first"},
        loops=ntxent.ntxent,
        dense=dense.ntxent,
        conventions=conventions.NTXENT,
        cases={
            "ntxent": Case(nf.NTXent(temperature=0.3), (A, B)),
            "ntxent-guarded": Case(nf.NTXent(temperature=0.01, denominator="negatives"), (A, B)),
            "ntxent-hard": Case(nf.NTXent(hardness=3.0), (A, B)),
            "ntxent-first": Case(nf.NTXent(anchors="first", denominator="negatives"), (A, B)),
        },
    ),
    "SupCon": Entry(
        fields={
            "temperature": 0.1,
            "similarity": "cosine",
            "candidates": "reference",
            "exclude": None,
            "denominator": "all",
            "positives": "mean_log",
            "include_self": False,
            "without_positives": "skip",
            "average": "anchors",
            "scale": 1.0,
            "scale_by": "constant",
            "reduction": "mean",
        },
        others={"average": "pairs", "include_self": "positive", "scale_by": "temperature"},
        loops=supcon.supcon,
        dense=dense.supcon,
        conventions=conventions.SUPCON,
        cases={
            # Loaders hand out labels as floats; they must not be taken for embeddings.
            "supcon": Case(nf.SupCon(), (X,), (LABELS.astype(np.float64),)),
            "supcon-self": Case(
                nf.SupCon(include_self="positive", similarity="dot", scale_by="temperature"),
                (X,),
                (LABELS,),
            ),
            "supcon-own": Case(nf.SupCon(denominator="own_positive"), (X,), (LABELS,)),
            "supcon-own-log": Case(
                nf.SupCon(denominator="own_positive", positives="log_mean", temperature=0.02),
                (X,),
                (LABELS,),
            ),
            "supcon-pairs-dot": Case(
                nf.SupCon(similarity="dot", average="pairs", include_self=True, temperature=1.0),
                (X,),
                (LABELS,),
            ),
            "supcon-euclidean": Case(nf.SupCon(similarity="neg_euclidean"), (X,), (LABELS,)),
            "supcon-many": Case(nf.SupCon(positives="log_sum"), (X,), (MANY,)),
        },
    ),
    "HCL": Entry(
        fields={
            "temperature": 0.5,
            "tau_plus": 0.1,
            "beta": 1.0,
            "similarity": "cosine",
            "same": "ignore",
            "exclude": None,
            "detach_weights": False,
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"tau_plus": 0.0, "beta": 2.0, "detach_weights": True},
        loops=hcl.hcl,
        dense=dense.hcl,
        conventions=conventions.HCL,
        cases={
            "hcl": Case(nf.HCL(), (A, B)),
            "hcl-clamped": Case(nf.HCL(temperature=0.2, detach_weights=True), (A, B)),
        },
    ),
    "DCL": Entry(
        fields={
            "temperature": 0.1,
            "similarity": "cosine",
            "same": "ignore",
            "exclude": None,
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"similarity": "neg_sqeuclidean", "reduction": "none"},
        loops=ntxent.dcl,
        dense=dense.dcl,
        conventions=conventions.DCL,
        cases={"dcl": Case(nf.DCL(), (A, B))},
    ),
    "CLIP": Entry(
        fields={
            "temperature": 0.07,
            "similarity": "cosine",
            "same": "positive",
            "exclude": None,
            "scale": 1.0,
            "scale_by": "constant",
            "reduction": "mean",
        },
        others={"temperature": 0.01, "similarity": "dot"},
        loops=clip.clip,
        dense=dense.clip,
        conventions=conventions.CLIP,
        cases={
            "clip": Case(nf.CLIP(), (A, B)),
            "clip-euclidean": Case(nf.CLIP(similarity="neg_euclidean"), (A, B)),
        },
    ),
    "SigLIP": Entry(
        fields={
            "temperature": 0.1,
            "bias": -10.0,
            "similarity": "cosine",
            "same": "positive",
            "exclude": None,
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"temperature": 0.05, "bias": -3.5},
        loops=siglip.siglip,
        dense=dense.siglip,
        conventions=conventions.SIGLIP,
        cases={
            "siglip": Case(nf.SigLIP(bias=-3.0), (A, B)),
            "siglip-ignore": Case(nf.SigLIP(temperature=0.5, same="ignore"), (A, B)),
            "siglip-negative": Case(nf.SigLIP(bias=-1.0, same="negative"), (A, B)),
        },
    ),
    "Triplet": Entry(
        fields={"margin": 0.2, "distance": "sqeuclidean", "scale": 1.0, "reduction": "mean"},
        others={"margin": 0.0, "distance": "chebyshev", "scale": 3.0},
        loops=triplet.triplet,
        dense=dense.triplet,
        conventions=conventions.TRIPLET,
        cases={
            "triplet": Case(nf.Triplet(margin=2.0), (A, B, C)),
            "triplet-chebyshev": Case(nf.Triplet(margin=2.0, distance="chebyshev"), (A, B, C)),
        },
    ),
    "SoftContrastive": Entry(
        fields={
            "temperature": 0.1,
            "weights": "given",
            "bandwidth": 1.0,
            "normalise": "row",
            "similarity": "cosine",
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"temperature": 0.3, "normalise": "positives", "similarity": "dot"},
        loops=softcontrastive.softcontrastive,
        dense=None,
        conventions=conventions.SOFTCONTRASTIVE,
        cases={
            "soft-given": Case(nf.SoftContrastive(), (X,), (GIVEN,)),
            "soft-rbf": Case(nf.SoftContrastive(weights="rbf", temperature=0.02), (X,), (TARGETS,)),
            "soft-jaccard": Case(
                nf.SoftContrastive(weights="jaccard", normalise="positives"), (X,), (MANY,)
            ),
            "soft-cosine": Case(
                nf.SoftContrastive(weights="cosine", bandwidth=0.3, similarity="neg_euclidean"),
                (X,),
                (SEVERAL_TARGETS + 0.5,),
            ),
        },
        not_in_presets="the code of y-Aware divides its weights along the other axis, and that of "
        "X-CLR was not to be had",
        not_distributed="every rank would hold weights of pairs",
    ),
    "SupCR": Entry(
        fields={
            "temperature": 2.0,
            "similarity": "neg_euclidean",
            "order": "farther",
            "label_distance": "l1",
            "candidates": "reference",
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"order": "nearer", "label_distance": "l2", "similarity": "cosine"},
        loops=supcr.supcr,
        dense=dense.supcr,
        conventions=conventions.SUPCR,
        cases={
            "supcr": Case(nf.SupCR(), (X,), (TARGETS,)),
            "supcr-nearer": Case(
                nf.SupCR(
                    order="nearer",
                    similarity="cosine",
                    label_distance="l2",
                    temperature=0.1,
                    candidates="both",
                ),
                (X,),
                (SEVERAL_TARGETS,),
            ),
            "supcr-wide": Case(nf.SupCR(similarity="dot", temperature=1e-3), (X,), (TARGETS,)),
        },
    ),
    "BatchTriplet": Entry(
        fields={
            "margin": 0.2,
            "mining": "all",
            "distance": "euclidean",
            "count": "active",
            "without_positives": "skip",
            "candidates": "reference",
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"mining": "semihard", "count": "all"},
        loops=batchtriplet.batchtriplet,
        dense=dense.batchtriplet,
        conventions=conventions.BATCHTRIPLET,
        cases={
            "batchtriplet": Case(nf.BatchTriplet(margin=1.5), (X,), (LABELS,)),
            "batchtriplet-hard": Case(
                nf.BatchTriplet(mining="hard", distance="sqeuclidean"), (X,), (LABELS,)
            ),
            "batchtriplet-semihard": Case(
                nf.BatchTriplet(mining="semihard", distance="cosine", candidates="both"),
                (X,),
                (LABELS,),
            ),
            "batchtriplet-all-semihard": Case(
                nf.BatchTriplet(mining="all_semihard", margin=1.5, count="all"), (X,), (MANY,)
            ),
        },
    ),
    "PairMargin": Entry(
        fields={
            "margin": 1.0,
            "distance": "euclidean",
            "candidates": "reference",
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"margin": 0.3, "distance": "cosine"},
        loops=pairmargin.pairmargin,
        dense=dense.pairmargin,
        conventions=conventions.PAIRMARGIN,
        cases={
            "pairmargin": Case(
                nf.PairMargin(margin=4.0, distance="cityblock", candidates="both"), (X,), (LABELS,)
            )
        },
    ),
    "InfoNCE": Entry(
        fields={
            "temperature": 0.07,
            "similarity": "cosine",
            "hardness": 0.0,
            "in_batch": "without_negatives",
            "own": "mine",
            "directions": ("qp",),
            "partition": "joint",
            "same": "ignore",
            "exclude": None,
            "scale": 1.0,
            "scale_by": "constant",
            "reduction": "mean",
        },
        others={"temperature": 0.2, "similarity": "dot", "scale": 2.0},
        loops=infonce.infonce,
        dense=dense.infonce,
        conventions=conventions.INFONCE,
        cases={
            "infonce": Case(nf.InfoNCE(), (A, B)),
            "infonce-queue": Case(nf.InfoNCE(similarity="neg_sqeuclidean"), (A, B, QUEUE)),
            "infonce-hard": Case(nf.InfoNCE(hardness=9.0), (A, B)),
            "infonce-own": Case(nf.InfoNCE(), (A, B, OWN)),
        },
    ),
    "MultiSimilarity": Entry(
        fields={
            "alpha": 2.0,
            "beta": 50.0,
            "base": 0.5,
            "mining": False,
            "similarity": "cosine",
            "without_positives": "count",
            "candidates": "reference",
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"alpha": 3.0, "mining": 0.2, "without_positives": "zero"},
        loops=multisimilarity.multisimilarity,
        dense=None,
        conventions=conventions.MULTISIMILARITY,
        cases={
            "multisimilarity": Case(nf.MultiSimilarity(), (X,), (LABELS,)),
            "multisimilarity-mined": Case(
                nf.MultiSimilarity(mining=0.1, without_positives="skip", candidates="both"),
                (X,),
                (LABELS,),
            ),
            "multisimilarity-euclidean": Case(
                nf.MultiSimilarity(similarity="neg_euclidean", base=-2.0, beta=5.0),
                (X,),
                (MANY,),
            ),
        },
    ),
    "Circle": Entry(
        fields={
            "margin": 0.4,
            "gamma": 80.0,
            "similarity": "cosine",
            "detach": True,
            "average": "active",
            "candidates": "reference",
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"margin": 0.25, "gamma": 256.0, "detach": False},
        loops=circle.circle,
        dense=None,
        conventions=conventions.CIRCLE,
        cases={
            "circle": Case(nf.Circle(), (X,), (LABELS,)),
            "circle-differentiated": Case(
                nf.Circle(detach=False, gamma=10.0, average="anchors", candidates="both"),
                (X,),
                (LABELS,),
            ),
        },
    ),
    "Lifted": Entry(
        fields={
            "margin": 1.0,
            "form": "generalised",
            "distance": "euclidean",
            "without_positives": "skip",
            "candidates": "reference",
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"margin": 0.5, "form": "pairs"},
        loops=lifted.lifted,
        dense=None,
        conventions=conventions.LIFTED,
        cases={
            "lifted": Case(nf.Lifted(), (X,), (LABELS,)),
            "lifted-pairs": Case(nf.Lifted(form="pairs"), (X,), (LABELS,)),
            "lifted-count": Case(
                nf.Lifted(without_positives="count", distance="sqeuclidean", candidates="both"),
                (X,),
                (MANY,),
            ),
        },
    ),
    "NPair": Entry(
        fields={"l2": 0.0, "scale": 1.0, "reduction": "mean"},
        others={"l2": 0.02},
        loops=npair.npair,
        dense=None,
        conventions=conventions.NPAIR,
        cases={"npair": Case(nf.NPair(l2=0.1), (A, B))},
    ),
    "KoLeo": Entry(
        fields={"eps": 1e-8, "scale": 1.0, "reduction": "mean"},
        others={"eps": 1e-3},
        loops=spread.koleo,
        dense=None,
        conventions=conventions.KOLEO,
        cases={"koleo": Case(nf.KoLeo(), (X,), ())},
    ),
    "Uniformity": Entry(
        fields={"t": 2.0, "scale": 1.0, "reduction": "mean"},
        others={"t": 3.0},
        loops=spread.uniformity,
        dense=None,
        conventions=conventions.UNIFORMITY,
        cases={"uniformity": Case(nf.Uniformity(), (X,), ())},
        not_in_presets="beside Alignment only, in one sum",
    ),
    "Alignment": Entry(
        fields={"alpha": 2.0, "scale": 1.0, "reduction": "mean"},
        others={"alpha": 1.0},
        loops=spread.alignment,
        dense=None,
        conventions=conventions.ALIGNMENT,
        cases={"alignment": Case(nf.Alignment(), (A, B), ())},
        not_in_presets="beside Uniformity only, in one sum",
    ),
    "VICReg": Entry(
        fields={
            "invariance": 25.0,
            "variance": 25.0,
            "covariance": 1.0,
            "eps": 1e-4,
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"invariance": 1.0, "covariance": 0.1},
        loops=moments.vicreg,
        dense=None,
        conventions=conventions.VICREG,
        cases={"vicreg": Case(nf.VICReg(), (A, B), ())},
    ),
    "BarlowTwins": Entry(
        fields={"off_diagonal": 5e-3, "eps": 1e-5, "scale": 1.0, "reduction": "mean"},
        others={"off_diagonal": 0.1},
        loops=moments.barlowtwins,
        dense=None,
        conventions=conventions.BARLOWTWINS,
        cases={"barlowtwins": Case(nf.BarlowTwins(), (A, B), ())},
    ),
    "CoSENT": Entry(
        fields={"temperature": 0.05, "scale": 1.0, "reduction": "mean"},
        others={"temperature": 0.5},
        loops=scoredpairs.cosent,
        dense=None,
        conventions=conventions.COSENT,
        cases={"cosent": Case(nf.CoSENT(), (A, B), (TARGETS[:10],))},
    ),
    "AnglE": Entry(
        fields={"temperature": 0.05, "scale": 1.0, "reduction": "mean"},
        others={"temperature": 0.5},
        loops=scoredpairs.angle,
        dense=None,
        conventions=conventions.ANGLE,
        cases={"angle": Case(nf.AnglE(), (A, B), (TARGETS[:10],))},
    ),
    "SmoothAP": Entry(
        fields={
            "temperature": 0.01,
            "similarity": "cosine",
            "count_self": False,
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"temperature": 0.1, "count_self": True},
        loops=smoothap.smoothap,
        dense=None,
        conventions=conventions.SMOOTHAP,
        cases={
            "smoothap": Case(nf.SmoothAP(temperature=0.05), (X,), (LABELS,)),
            "smoothap-self": Case(
                nf.SmoothAP(temperature=0.5, count_self=True, similarity="dot"), (X,), (MANY,)
            ),
        },
    ),
    "ProxyNCA": Entry(
        fields={"temperature": 1 / 3, "scale": 1.0, "reduction": "mean"},
        others={"temperature": 0.5},
        loops=proxies.proxynca,
        dense=None,
        conventions=conventions.PROXYNCA,
        cases={"proxynca": Case(nf.ProxyNCA(temperature=0.5), (X, PROXIES), (CLASSES,))},
    ),
    "NormalizedSoftmax": Entry(
        fields={"temperature": 0.05, "scale": 1.0, "reduction": "mean"},
        others={"temperature": 0.5},
        loops=proxies.normalizedsoftmax,
        dense=None,
        conventions=conventions.NORMALIZEDSOFTMAX,
        cases={
            "normalizedsoftmax": Case(
                nf.NormalizedSoftmax(temperature=0.2), (X, PROXIES), (CLASSES,)
            )
        },
    ),
    "CosFace": Entry(
        fields={"temperature": 1 / 64, "margin": 0.35, "scale": 1.0, "reduction": "mean"},
        others={"margin": 0.2},
        loops=proxies.cosface,
        dense=None,
        conventions=conventions.COSFACE,
        cases={"cosface": Case(nf.CosFace(temperature=0.1), (X, PROXIES), (CLASSES,))},
    ),
    "ArcFace": Entry(
        fields={"temperature": 1 / 64, "margin": 0.5, "scale": 1.0, "reduction": "mean"},
        others={"margin": 0.2},
        loops=proxies.arcface,
        dense=None,
        conventions=conventions.ARCFACE,
        cases={"arcface": Case(nf.ArcFace(temperature=0.1), (X, PROXIES), (CLASSES,))},
    ),
    "SoftTriple": Entry(
        fields={
            "temperature": 0.05,
            "gamma": 0.1,
            "margin": 0.01,
            "scale": 1.0,
            "reduction": "mean",
        },
        others={"gamma": 0.2},
        loops=proxies.softtriple,
        dense=None,
        conventions=conventions.SOFTTRIPLE,
        cases={"softtriple": Case(nf.SoftTriple(), (X, CENTRES), (CLASSES,))},
    ),
    "ProxyAnchor": Entry(
        fields={"alpha": 32.0, "margin": 0.1, "scale": 1.0, "reduction": "mean"},
        others={"alpha": 16.0},
        loops=proxies.proxyanchor,
        dense=None,
        conventions=conventions.PROXYANCHOR,
        cases={"proxyanchor": Case(nf.ProxyAnchor(), (X, PROXIES), (CLASSES,))},
    ),
}

CASES = {
    # Several tiles, the last of them smaller.
    name: replace(case, loss=case.loss.with_options(tile=8))
    for entry in LOSSES.values()
    for name, case in entry.cases.items()
    if "proxies" not in case.loss.inputs  # labels stand between; check_loss tries all modes
}
FEW = ["ntxent", "supcon-own-log", "clip", "supcr", "infonce-queue"]
"""For modes that compile slowly: both evaluators, masks, guard and pairs."""


def batches_in(frameworks: Sequence[str], loss: nf.Loss) -> dict[str, tuple[np.ndarray, ...]]:
    """What `check_loss` tries; in JAX, where each size is a program, the first and the smallest."""
    found: dict[str, tuple[np.ndarray, ...]] = batches(loss)
    if "jax" not in frameworks:
        return found
    names = [*found]
    return {name: found[name] for name in names[:1] + names[-1:]}
