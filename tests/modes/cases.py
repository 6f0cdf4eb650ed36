"""Losses and inputs that every framework and mode is held against."""

from dataclasses import dataclass

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
    queue, own = rng.normal(size=(13, 5)), rng.normal(size=(10, 3, 5))
    log_mean = nf.SupCon(denominator="own_positive", positives="log_mean", temperature=0.02)
    cases = {
        "ntxent": Case(nf.NTXent(temperature=0.3), (a, b)),
        "ntxent-guarded": Case(nf.NTXent(temperature=0.01, denominator="negatives"), (a, b)),
        # Loaders hand out labels as floats; they must not be taken for embeddings.
        "supcon": Case(nf.SupCon(), (x,), (labels.astype(np.float64),)),
        "supcon-own": Case(nf.SupCon(denominator="own_positive"), (x,), (labels,)),
        "supcon-own-log": Case(log_mean, (x,), (labels,)),
        "supcon-pairs-dot": Case(
            nf.SupCon(similarity="dot", average="pairs", include_self=True, temperature=1.0),
            (x,),
            (labels,),
        ),
        "supcon-euclidean": Case(nf.SupCon(similarity="neg_euclidean"), (x,), (labels,)),
        "supcon-many": Case(nf.SupCon(positives="log_sum"), (x,), (many,)),
        "infonce": Case(nf.InfoNCE(), (a, b)),
        "infonce-queue": Case(nf.InfoNCE(similarity="neg_sqeuclidean"), (a, b, queue)),
        "infonce-own": Case(nf.InfoNCE(), (a, b, own)),
    }
    # Several tiles, the last of them smaller.
    return {name: Case(c.loss.with_options(tile=8), *_rest(c)) for name, c in cases.items()}


def _rest(case: Case) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    return case.embeddings, case.labels


CASES = _cases()
FEW = ["ntxent", "supcon", "supcon-own-log", "infonce-queue"]
"""For modes that compile slowly: both evaluators, masks, guard and pairs."""
