"""What is wrong with a batch, in words, from the numbers of its explanation."""

from typing import Any

import numpy as np

from nearfar.explain.relations import Array, Relations
from nearfar.explain.survey import Survey
from nearfar.losses import Loss, RowsAlone, ScoredPairs, ViewsAlone

_EVEN = 1e-6  # logits that differ by less of their size are taken for equal


def findings(
    loss: Loss,
    facts: dict[str, Any],
    relations: Relations,
    found: Survey,
    arrays: dict[str, Array],
) -> list[str]:
    """Of anchors, of who meets whom, of what is given; nothing where all is well."""
    n = len(found.positives)
    return [
        *_of_anchors(loss, facts, relations, found),
        *_of_meetings(loss, facts["left_out"], n),
        *_of_inputs(arrays),
    ]


def _of_anchors(
    loss: Loss, facts: dict[str, Any], relations: Relations, found: Survey
) -> list[str]:
    """Who learns nothing, or the wrong thing."""
    n = facts["anchors"]
    said = []
    size = max(1.0, abs(found.lowest), abs(found.highest))
    if (
        found.positives.sum() + found.negatives.sum() > 2
        and found.highest - found.lowest <= _EVEN * size
    ):
        said.append("all similarities are equal: the embeddings have collapsed")
    lacking = facts["without_positives"]["count"]
    paired = not isinstance(loss, RowsAlone)
    if not paired:
        pass
    elif lacking == n:
        reason = "all labels are different" if relations.same_rows else "no candidate has its label"
        why = f": {reason}" if relations.labels is not None and n > 1 else ""
        said.append(f"no anchor has a positive{why}; the loss is 0 and nothing is learned")
    elif lacking:
        rows = ", ".join(map(str, facts["without_positives"]["first"]))
        skipped = loss.stated("without_positives", "skip") == "skip"
        counts = "not counted" if skipped else "counted as 0"
        said.append(f"{lacking} of {n} anchors have no positive and are {counts}: rows {rows}")
    alone = isinstance(loss, RowsAlone | ViewsAlone | ScoredPairs)
    some = found.negatives.any() or found.emptied
    if facts["negatives"] and not alone and lacking < n and not some:
        why = ": all rows are of one class" if relations.labels is not None and n > 1 else ""
        learns = "" if facts["hardest_tenth"] else "; the loss is 0 and nothing is learned"
        said.append(f"no anchor has a negative{why}{learns}")
    repeated, own = facts["duplicates"], facts["positives_among_negatives"]
    if repeated["count"] and n > 1:
        said.append(
            f"{repeated['count']} of {repeated['rows']} rows repeat an earlier one: "
            + _equalities(repeated)
        )
    if own is not None and own["count"]:
        said.append(
            f"{own['count']} of {n} anchors have their own positive among their negatives, where "
            f"it is pushed away and counts twice; leave it out: {_equalities(own)}"
        )
    if facts["clamped"]:
        all_of = "all" if facts["clamped"] == n else f"{facts['clamped']} of"
        said.append(
            f"{all_of} {n} anchors are at the lower bound of the estimate, where negatives have "
            "no gradient; raise temperature or lower tau_plus"
        )
    if not loss.by_distance and 0 < facts["chance"] * (1 + _EVEN) < facts["value"]:
        said.append("the value is above chance: positives are farther than most other rows")
    return said


def _of_meetings(loss: Loss, left_out: dict[str, int] | None, n: int) -> list[str]:
    """Who meets nobody, and who meets more than is counted."""
    said = []
    if left_out and left_out["anchors"]:
        why = " and ".join(k for k, count in left_out.items() if count and k != "anchors")
        said.append(
            f"all candidates of {left_out['anchors']} of {n} anchors are left out, but for "
            f"positives (by {why})"
        )
    directions = loss.stated("directions", ("qp",))
    if directions != ("qp",):
        all_of = ", ".join(f'"{name}"' for name in directions)
        said.append(
            'candidates are counted of direction "qp" only, queries against positives and '
            f"negatives; the loss has {all_of}"
        )
    return said


def _of_inputs(arrays: dict[str, Array]) -> list[str]:
    """Weights of nobody; labels and targets that may be meant otherwise than they are read."""
    labels, targets = arrays.get("labels"), arrays.get("targets")
    weights = arrays.get("sample_weight")
    said = []
    if weights is not None and not weights.any():
        said.append("sample_weight is 0 for all: the loss is 0 and nothing is learned")
    if labels is not None and _is_mask(labels):
        n = len(labels)
        said.append(
            f"labels are a symmetric {n} x {n} matrix with a diagonal of ones: each column is read "
            "as one label, and rows that share a column are positives; a mask of pairs is not read "
            "as one, give class labels (n,) instead"
        )
    if targets is not None and targets.ndim == 2 and len(targets) == targets.shape[1] > 1:
        n = len(targets)
        said.append(
            f"targets are {n} x {n}: each row is read as a point with {n} numbers, whose "
            "distances are ranked; a matrix of similarities between rows is not read as one"
        )
    return said


def _is_mask(labels: Array) -> bool:
    square = labels.ndim == 2 and len(labels) == labels.shape[1] > 1
    return bool(square and (labels == labels.T).all() and (np.diagonal(labels) == 1).all())


def _equalities(fact: dict[str, Any]) -> str:
    return ", ".join(" = ".join(pair) for pair in fact["first"])
