"""The explanation of a loss on a batch: what it is made of, as a table and as a picture."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.explain import numbers
from nearfar.explain.findings import findings
from nearfar.explain.relations import Array, Relations, relate
from nearfar.explain.repeats import own_negatives, repeats
from nearfar.explain.survey import survey
from nearfar.frameworks import HOST_MEMORY
from nearfar.losses import Composed, Loss


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
        more = ", ..." if fact["count"] > numbers.SHOWN else ""
        return f"{fact['count']}" + (f" ({first}{more})" if first else "")
    if key in ("hardest_tenth", "top1"):
        return f"{fact:.1%}"
    return f"{fact:g}" if isinstance(fact, float) else str(fact)


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
    pull = numbers.pull(kind, gradients, len(losses) if each else len(relations.anchors.rows))
    facts: dict[str, Any] = {"loss": loss.to_dict(), "value": float(value), "chance": chance}
    facts |= numbers.means(kind, relations, found)
    if kind.stated("include_self") == "positive":
        found.positives += 1
    facts |= numbers.counts(kind, found) | numbers.pairs(kind, relations, found)
    facts |= {
        "left_out": found.left_out | {"anchors": found.emptied} if found.left_out else None,
        "duplicates": repeats(kind, arrays, relations.anchors),
        "positives_among_negatives": own_negatives(kind, arrays),
        "clamped": numbers.clamped(loss, named),
        "at_zero": int((losses == 0).sum()) if each else None,
        "effective_negatives": numbers.effective(kind, found),
        "hardest_tenth": numbers.hardest_tenth(losses, pull),
    }
    facts["findings"] = findings(kind, facts, relations, found, arrays)
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
