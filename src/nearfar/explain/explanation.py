"""The explanation of a loss on a batch: numbers, findings in words, a table, a picture."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.explain.relations import Array, Relations, relate
from nearfar.explain.repeats import own_negatives, repeats
from nearfar.explain.survey import Survey, survey
from nearfar.frameworks import HOST_MEMORY
from nearfar.losses import (
    Composed,
    GradedRows,
    Loss,
    RankedRows,
    RowsAlone,
    ScoredPairs,
    TwoViews,
    ViewsAlone,
)

_EVEN = 1e-6  # logits that differ by less of their size are taken for equal
_SHOWN = 5


@dataclass(frozen=True)
class Explanation:
    """What a loss does with a batch; prints as a table, in a notebook with its picture.

    `facts` are plain numbers, lists and text, under these names:

    - "value", and "chance", the value where all similarities are 0 (by which nobody is left out);
    - "anchors", of two sides the rows of the first; "positives" and "negatives" of an anchor:
      least, median, most;
    - "without_positives" and "without_negatives": the anchors that have none (where targets rank
      all other rows nobody is a negative throughout: None);
    - "left_out": how many pairs of an anchor and a candidate would be negatives and are left out,
      by reason: "ids", "padding", "exclude", the first that holds, as far as the call has them;
      and "anchors", how many have no other negatives (None: the call has none of these);
    - "duplicates": rows equal to an earlier one of their side (of both sides, and of a queue with
      the positives), of how many, and the first such pairs;
    - "positives_among_negatives": anchors whose own positive is one of the negatives given for
      them, and the first such pairs (None: no negatives are given);
    - "clamped": anchors whose negatives have no gradient, the lower bound of HCL (None: the loss
      has no such bound); "at_zero": anchors whose loss is 0;
    - "effective_negatives": the median over the anchors of exp(entropy) of their softmax over the
      negatives (None for losses of distances and of targets);
    - "hardest_tenth": share of the gradient's norm that the tenth of the anchors with the highest
      losses has (None without any gradient);
    - "near_negatives" and "far_positives": the hardest pairs, by similarity or distance;
    - "top1": share of the anchors with positives whose most similar candidate is one (None where
      nobody is a negative);
    - "mean_positive" and "mean_negative": mean similarity (or distance) of these pairs, None where
      there are none;
    - "findings": what is wrong with the batch, in words.
    """

    facts: dict[str, Any]
    losses: Array
    """Of each anchor, (n,)."""
    pull: Array
    """Share of each anchor in the gradient's norm, (n,)."""
    relations: Relations
    memory: int

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON."""
        return dict(self.facts)

    def scalars(self) -> dict[str, float]:
        """Every number under a name of its own, for a logger.

        What a loss does not have is left out. Facts with several numbers give several names:
        "positives_least", "duplicates_count".

        >>> import numpy as np
        >>> from nearfar import SupCon
        >>> z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> scalars = SupCon().explain(z, [0, 0, 1, 1]).scalars()
        >>> scalars["top1"], scalars["positives_most"]
        (1.0, 1.0)
        """
        found: dict[str, float] = {}
        for key, fact in self.facts.items():
            parts = fact if isinstance(fact, dict) and key != "loss" else {"": fact}
            for part, number in parts.items():
                if isinstance(number, int | float):
                    found[f"{key}_{part}" if part else key] = float(number)
        return found

    def plot(self, ax: Any = None) -> Any:
        """Draw the similarities, and each anchor's share of the gradient beside them.

        Needs matplotlib. Rows of a class, or the two views of an object, stand side by side;
        beyond 400 rows a cell is the mean over several pairs.

        Parameters
        ----------
        ax
            Two axes to draw on; a new figure by default.

        Returns
        -------
        figure
            The matplotlib figure.
        """
        from nearfar.explain.picture import draw

        return draw(self.facts, self.pull, self.relations, self.memory, ax)

    def __str__(self) -> str:
        width = max(map(len, _HEADINGS.values()))
        lines = [self._title()]
        lines += [f"  {heading:<{width}}  {text}" for heading, text in self._rows()]
        return "\n".join([*lines, *(f"  ! {finding}" for finding in self.facts["findings"])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from nearfar.explain.notebook import shown

        return shown(self._title(), self._rows(), self.facts["findings"], self.plot)

    def _title(self) -> str:
        name, value, chance = (self.facts[key] for key in ("loss", "value", "chance"))
        beside = f", {value / chance:.3g} of chance" if chance > 0 else ""
        return f"{name['loss']}: {value:.6g}{beside} ({chance:.6g})"

    def _rows(self) -> list[tuple[str, str]]:
        return [
            (heading, _spelled(key, self.facts[key]))
            for key, heading in _HEADINGS.items()
            if self.facts[key] not in (None, [])
        ]


_HEADINGS = {
    "anchors": "anchors",
    "positives": "positives per anchor",
    "negatives": "negatives per anchor",
    "without_positives": "anchors without positives",
    "without_negatives": "anchors without negatives",
    "left_out": "pairs left out",
    "duplicates": "rows equal to an earlier one",
    "positives_among_negatives": "positives among their negatives",
    "clamped": "anchors at the lower bound",
    "at_zero": "anchors with a loss of 0",
    "top1": "anchors nearest to a positive",
    "mean_positive": "mean of positive pairs",
    "mean_negative": "mean of negative pairs",
    "effective_negatives": "negatives that matter (median)",
    "hardest_tenth": "gradient of the hardest tenth",
    "near_negatives": "hardest negatives",
    "far_positives": "hardest positives",
}


def explain(loss: Loss, arrays: dict[str, Array]) -> Explanation:
    """Explain a loss on NumPy inputs by their names, embeddings first."""
    relations = relate(loss, arrays)
    memory = loss.options.memory or HOST_MEMORY
    found = survey(relations, memory)
    # In the order of the call.
    arrays = {name: arrays[name] for name in loss.inputs if name in arrays} | arrays
    inputs = tuple(arrays.values())
    named = _by_argument(arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said among the findings
        each = "none" in loss.declarations["reduction"]["choices"]
        # A loss of the batch has none of its anchors.
        losses = replace(loss, reduction="none")(**named) if each else np.zeros(0)
        mean = loss if loss.reduction != "none" else replace(loss, reduction="mean")
        value, gradients = mean.value_and_grad(**named)
        nothing = {
            key: np.zeros((*x.shape[: _row_axes(key, x, inputs[0])], loss.least_features))
            if key in loss.embeddings
            else x
            for key, x in arrays.items()
        }
        chance = float(_at_zero(mean)(**_by_argument(nothing)))
    kind = loss.first if isinstance(loss, Composed) else loss
    pull = _pull(kind, gradients, len(losses) if each else len(relations.anchors.rows))
    facts: dict[str, Any] = {"loss": loss.to_dict(), "value": float(value), "chance": chance}
    facts |= _means(kind, relations, found)
    if kind.stated("include_self") == "positive":
        found.positives += 1
    facts |= _counts(kind, found) | _pairs(kind, relations, found)
    facts |= {
        "left_out": found.left_out | {"anchors": found.emptied} if found.left_out else None,
        "duplicates": repeats(kind, arrays, relations.anchors),
        "positives_among_negatives": own_negatives(kind, arrays),
        "clamped": _clamped(loss, named),
        "at_zero": int((losses == 0).sum()) if each else None,
        "effective_negatives": _effective(kind, found),
        "hardest_tenth": _hardest_tenth(losses, pull),
    }
    facts["findings"] = _findings(kind, facts, relations, found)
    facts["findings"] += _of_meetings(kind, facts["left_out"], n=len(found.positives))
    facts["findings"] += _of_inputs(arrays)
    return Explanation(facts, np.asarray(losses), pull, relations, memory)


def _by_argument(arrays: dict[str, Array]) -> dict[str, Any]:
    """What a call is given by name, of which one argument may be several arrays: "ids.0"."""
    found: dict[str, Any] = {}
    for name, x in arrays.items():
        stem, _, number = name.partition(".")
        found[stem] = (*found.get(stem, ()), x) if number else x
    alone = {stem: x[0] for stem, x in found.items() if isinstance(x, tuple) and len(x) == 1}
    return found | alone


def _at_zero(loss: Loss) -> Loss:
    """The loss where all similarities are 0: they leave out nobody, whatever the margin."""
    exclude = loss.stated("exclude")
    if exclude is None or exclude.by != "self" or isinstance(loss, Composed):
        return loss
    changes: dict[str, Any] = {"exclude": None}
    return replace(loss, **changes)


def _row_axes(key: str, x: Array, first: Array) -> int:
    return 2 if key in ("negatives", "proxies") and x.ndim > first.ndim else 1


def _pull(loss: Loss, gradients: tuple[Array, ...], n: int) -> Array:
    """Norms of the anchors' gradients as shares of their sum."""
    anchors = gradients if isinstance(loss, TwoViews) else gradients[:1]
    rows = np.concatenate([g.reshape(len(g), -1) for g in anchors]).astype(np.float64)
    norms = np.linalg.norm(rows[:n], axis=1)
    total = norms.sum()
    return norms / total if total > 0 else np.zeros(n)


def _counts(loss: Loss, found: Survey) -> dict[str, Any]:
    def spread(counts: Array) -> dict[str, float]:
        return {
            "least": int(counts.min()),
            "median": float(np.median(counts)),
            "most": int(counts.max()),
        }

    def lacking(counts: Array) -> dict[str, Any]:
        rows = np.flatnonzero(counts == 0)
        return {"count": len(rows), "first": rows[:_SHOWN].tolist()}

    ranks = isinstance(loss, RankedRows | GradedRows)  # nobody is a negative throughout
    return {
        "anchors": len(found.positives),
        "positives": spread(found.positives),
        "negatives": None if ranks else spread(found.negatives),
        "without_positives": lacking(found.positives),
        "without_negatives": None if ranks else lacking(found.negatives),
    }


def _means(loss: Loss, relations: Relations, found: Survey) -> dict[str, Any]:
    unit = -1.0 if loss.by_distance else relations.temperature
    pairs = found.positives.sum(), found.negatives.sum()
    positive, negative = (
        float(total * unit / count) if count else None
        for total, count in zip(found.sums, pairs, strict=True)
    )
    known = found.positives > 0
    top1 = float(found.first[known].mean()) if pairs[1] and known.any() else None
    return {"top1": top1, "mean_positive": positive, "mean_negative": negative}


def _pairs(loss: Loss, relations: Relations, found: Survey) -> dict[str, Any]:
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


def _clamped(loss: Loss, named: dict[str, Any]) -> int | None:
    clamped = loss.clamped(**named)
    return None if clamped is None else int(clamped.sum())


def _effective(loss: Loss, found: Survey) -> float | None:
    if loss.by_distance or not found.negatives.any():
        return None
    return float(np.median(found.effective[found.negatives > 0]))


def _hardest_tenth(losses: Array, pull: Array) -> float | None:
    if not pull.any() or not len(losses):
        return None
    tenth = max(1, len(losses) // 10)
    return float(pull[np.argsort(-losses, kind="stable")[:tenth]].sum())


def _findings(loss: Loss, facts: dict[str, Any], relations: Relations, found: Survey) -> list[str]:
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


def _spelled(key: str, fact: Any) -> str:
    if key in ("positives", "negatives"):
        return f"{fact['least']} to {fact['most']}, median {fact['median']:g}"
    if key in ("near_negatives", "far_positives"):
        return "; ".join(
            f"{anchor}, {candidate}: {apart:.4g}"
            for anchor, candidate, apart in (pair.values() for pair in fact[:3])
        )
    if key == "left_out":
        return ", ".join(f"{count} by {why}" for why, count in fact.items() if why != "anchors")
    if isinstance(fact, dict):
        first = ", ".join(" = ".join(x) if isinstance(x, list) else str(x) for x in fact["first"])
        more = ", ..." if fact["count"] > _SHOWN else ""
        return f"{fact['count']}" + (f" ({first}{more})" if first else "")
    if key in ("hardest_tenth", "top1"):
        return f"{fact:.1%}"
    return f"{fact:g}" if isinstance(fact, float) else str(fact)
