"""The numbers of an explanation, from what a survey of the pairs and the gradient found."""

from typing import Any

import numpy as np

from nearfar.explain.relations import Array, Relations
from nearfar.explain.survey import Survey
from nearfar.losses import GradedRows, Loss, RankedRows, TwoViews

SHOWN = 5
"""How many rows of a kind are named."""


def pull(loss: Loss, gradients: tuple[Array, ...], n: int) -> Array:
    """Norms of the anchors' gradients as shares of their sum."""
    anchors = gradients if isinstance(loss, TwoViews) else gradients[:1]
    rows = np.concatenate([g.reshape(len(g), -1) for g in anchors]).astype(np.float64)
    norms = np.linalg.norm(rows[:n], axis=1)
    total = norms.sum()
    return norms / total if total > 0 else np.zeros(n)


def counts(loss: Loss, found: Survey) -> dict[str, Any]:
    def spread(counts: Array) -> dict[str, float]:
        return {
            "least": int(counts.min()),
            "median": float(np.median(counts)),
            "most": int(counts.max()),
        }

    def lacking(counts: Array) -> dict[str, Any]:
        rows = np.flatnonzero(counts == 0)
        return {"count": len(rows), "first": rows[:SHOWN].tolist()}

    ranks = isinstance(loss, RankedRows | GradedRows)  # nobody is a negative throughout
    return {
        "anchors": len(found.positives),
        "positives": spread(found.positives),
        "negatives": None if ranks else spread(found.negatives),
        "without_positives": lacking(found.positives),
        "without_negatives": None if ranks else lacking(found.negatives),
    }


def means(loss: Loss, relations: Relations, found: Survey) -> dict[str, Any]:
    unit = -1.0 if loss.by_distance else relations.temperature
    known_pairs = found.positives.sum(), found.negatives.sum()
    positive, negative = (
        float(total * unit / count) if count else None
        for total, count in zip(found.sums, known_pairs, strict=True)
    )
    known = found.positives > 0
    top1 = float(found.first[known].mean()) if known_pairs[1] and known.any() else None
    return {"top1": top1, "mean_positive": positive, "mean_negative": negative}


def pairs(loss: Loss, relations: Relations, found: Survey) -> dict[str, Any]:
    distance = loss.by_distance

    def named(pairs: list[tuple[float, int, int]], sign: float) -> list[dict[str, Any]]:
        unit = sign * (-1.0 if distance else relations.temperature)
        return [
            {
                "anchor": relations.anchors.name(i),
                "candidate": relations.candidates.name(j),
                "distance" if distance else "similarity": hardness * unit,
            }
            for hardness, i, j in pairs
        ]

    return {"near_negatives": named(found.near, 1.0), "far_positives": named(found.far, -1.0)}


def clamped(loss: Loss, named: dict[str, Any]) -> int | None:
    bound = loss.clamped(**named)
    return None if bound is None else int(bound.sum())


def effective(loss: Loss, found: Survey) -> float | None:
    if loss.by_distance or not found.negatives.any():
        return None
    return float(np.median(found.effective[found.negatives > 0]))


def hardest_tenth(losses: Array, pull: Array) -> float | None:
    if not pull.any() or not len(losses):
        return None
    tenth = max(1, len(losses) // 10)
    return float(pull[np.argsort(-losses, kind="stable")[:tenth]].sum())
