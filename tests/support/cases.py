"""Losses and inputs that every framework and mode is held against."""

from dataclasses import dataclass, replace

import numpy as np

import nearfar as nf


@dataclass(frozen=True)
class Case:
    loss: nf.Loss
    embeddings: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...] = ()


def _cases() -> dict[str, Case]:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(21, 5)) * rng.uniform(0.5, 2, (21, 1))
    labels = rng.integers(0, 5, 21)
    labels[4:12], labels[20] = 7, 9  # a class larger than a tile, and a single row
    a, b = x[:10], x[10:20]
    many = (rng.random((21, 4)) < 0.3).astype(np.int64)
    targets = rng.integers(0, 12, 21) / 4  # some tie
    queue, own = rng.normal(size=(13, 5)), rng.normal(size=(10, 3, 5))
    log_mean = nf.SupCon(denominator="own_positive", positives="log_mean", temperature=0.02)
    cases = {
        "ntxent": Case(nf.NTXent(temperature=0.3), (a, b)),
        "ntxent-guarded": Case(nf.NTXent(temperature=0.01, denominator="negatives"), (a, b)),
        # Loaders hand out labels as floats; they must not be taken for embeddings.
        "supcon": Case(nf.SupCon(), (x,), (labels.astype(np.float64),)),
        "ntxent-first": Case(nf.NTXent(anchors="first", denominator="negatives"), (a, b)),
        "supcon-self": Case(
            nf.SupCon(include_self="positive", similarity="dot", scale_by="temperature"),
            (x,),
            (labels,),
        ),
        "supcon-own": Case(nf.SupCon(denominator="own_positive"), (x,), (labels,)),
        "supcon-own-log": Case(log_mean, (x,), (labels,)),
        "supcon-pairs-dot": Case(
            nf.SupCon(similarity="dot", average="pairs", include_self=True, temperature=1.0),
            (x,),
            (labels,),
        ),
        "supcon-euclidean": Case(nf.SupCon(similarity="neg_euclidean"), (x,), (labels,)),
        "supcon-many": Case(nf.SupCon(positives="log_sum"), (x,), (many,)),
        "hcl": Case(nf.HCL(), (a, b)),
        "hcl-clamped": Case(nf.HCL(temperature=0.2, detach_weights=True), (a, b)),
        "dcl": Case(nf.DCL(), (a, b)),
        "clip": Case(nf.CLIP(), (a, b)),
        "clip-euclidean": Case(nf.CLIP(similarity="neg_euclidean"), (a, b)),
        "siglip": Case(nf.SigLIP(bias=-3.0), (a, b)),
        "triplet": Case(nf.Triplet(margin=2.0), (a, b, x[5:15])),
        "triplet-chebyshev": Case(nf.Triplet(margin=2.0, distance="chebyshev"), (a, b, x[5:15])),
        "supcr": Case(nf.SupCR(), (x,), (targets,)),
        "supcr-nearer": Case(
            nf.SupCR(order="nearer", similarity="cosine", label_distance="l2", temperature=0.1),
            (x,),
            (rng.integers(0, 3, (21, 2)),),
        ),
        "supcr-wide": Case(nf.SupCR(similarity="dot", temperature=1e-3), (x,), (targets,)),
        "batchtriplet": Case(nf.BatchTriplet(margin=1.5), (x,), (labels,)),
        "batchtriplet-hard": Case(
            nf.BatchTriplet(mining="hard", distance="sqeuclidean"), (x,), (labels,)
        ),
        "batchtriplet-semihard": Case(
            nf.BatchTriplet(mining="semihard", distance="cosine"), (x,), (labels,)
        ),
        "batchtriplet-all-semihard": Case(
            nf.BatchTriplet(mining="all_semihard", margin=1.5, count="all"), (x,), (many,)
        ),
        "pairmargin": Case(nf.PairMargin(margin=4.0, distance="cityblock"), (x,), (labels,)),
        "infonce": Case(nf.InfoNCE(), (a, b)),
        "infonce-queue": Case(nf.InfoNCE(similarity="neg_sqeuclidean"), (a, b, queue)),
        "infonce-own": Case(nf.InfoNCE(), (a, b, own)),
    }
    # Several tiles, the last of them smaller.
    return {name: replace(c, loss=c.loss.with_options(tile=8)) for name, c in cases.items()}


CASES = _cases()
FEW = ["ntxent", "supcon-own-log", "clip", "supcr", "infonce-queue"]
"""For modes that compile slowly: both evaluators, masks, guard and pairs."""
