"""Losses with fields drawn at random, as the oracles' plain loops, each with its right name.

Beside `drawn`, whose losses have slips too: here are those that are stated by fields alone.
"""

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracles import (
    circle,
    infonce,
    lifted,
    moments,
    multisimilarity,
    npair,
    proxies,
    scoredpairs,
    smoothap,
    softcontrastive,
    spread,
    supcon,
)


@dataclass(frozen=True)
class Kind:
    """What a loss is drawn from."""

    loops: Any
    inputs: tuple[str, ...]
    told: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Numbers, which are arguments of the function under the same names."""
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    reductions: tuple[str, ...] = ("mean", "sum")


_ROWS = ("embeddings", "labels")
_PAIR = ("a", "b")
_PROXIES = ("embeddings", "labels", "proxies")
_LOW = (0.1, 0.2, 0.35)
_ONE = ("mean",)

KINDS = {
    "MultiSimilarity": Kind(
        multisimilarity.multisimilarity,
        _ROWS,
        {"alpha": (1.5, 2.0, 3.0), "beta": (8.0, 40.0, 50.0), "base": (0.3, 0.5, 0.8)},
        {
            "mining": (False, 0.1),
            "similarity": ("cosine", "cosine", "dot"),
            "without_positives": ("count", "skip", "zero"),
        },
    ),
    "Circle": Kind(
        circle.circle,
        _ROWS,
        {"margin": (0.25, 0.4), "gamma": (20.0, 80.0)},
        # By what it is averaged shows only where a loss is rounded to 0.
        {"similarity": ("cosine", "dot")},
    ),
    "Lifted": Kind(
        lifted.lifted,
        _ROWS,
        {"margin": (0.5, 1.0, 2.0)},
        {
            "form": ("generalised", "pairs"),
            "distance": ("euclidean", "sqeuclidean", "cosine"),
            "without_positives": ("skip", "zero", "count"),
        },
    ),
    "SmoothAP": Kind(
        smoothap.smoothap,
        _ROWS,
        {"temperature": (0.05, 0.1, 0.5)},
        {"count_self": (False, True), "similarity": ("cosine", "dot")},
    ),
    "NPair": Kind(npair.npair, ("anchor", "positive"), {"l2": (0.01, 0.02, 0.3)}, {}, _ONE),
    "KoLeo": Kind(spread.koleo, ("embeddings",)),
    "Uniformity": Kind(spread.uniformity, ("embeddings",), {"t": (1.0, 2.0, 3.0)}, {}, _ONE),
    "Alignment": Kind(spread.alignment, _PAIR, {"alpha": (1.0, 2.0, 3.0)}),
    "VICReg": Kind(
        moments.vicreg,
        _PAIR,
        {"invariance": (1.0, 25.0), "variance": (10.0, 25.0), "covariance": (0.5, 1.0)},
        {},
        _ONE,
    ),
    "BarlowTwins": Kind(moments.barlowtwins, _PAIR, {"off_diagonal": (5e-3, 0.1)}, {}, _ONE),
    "CoSENT": Kind(scoredpairs.cosent, ("x", "y", "targets"), {"temperature": _LOW}, {}, _ONE),
    "AnglE": Kind(scoredpairs.angle, ("x", "y", "targets"), {"temperature": _LOW}, {}, _ONE),
    "ProxyNCA": Kind(proxies.proxynca, _PROXIES, {"temperature": _LOW}),
    "NormalizedSoftmax": Kind(proxies.normalizedsoftmax, _PROXIES, {"temperature": _LOW}),
    "CosFace": Kind(proxies.cosface, _PROXIES, {"temperature": _LOW, "margin": (0.2, 0.35)}),
    "ArcFace": Kind(proxies.arcface, _PROXIES, {"temperature": _LOW, "margin": (0.3, 0.5)}),
    "SoftTriple": Kind(
        proxies.softtriple,
        ("embeddings", "labels", "centres"),
        {"temperature": _LOW, "gamma": (0.1, 0.3), "margin": (0.01, 0.1)},
    ),
    "ProxyAnchor": Kind(
        proxies.proxyanchor, _PROXIES, {"alpha": (4.0, 32.0), "margin": (0.1, 0.3)}, {}, _ONE
    ),
    "InfoNCE": Kind(
        infonce.infonce,
        ("query", "positive", "negatives"),
        {"temperature": _LOW},
        {"in_batch": ("without_negatives", "always"), "similarity": ("cosine", "dot")},
    ),
    "SupCon": Kind(
        supcon.supcon,
        ("embeddings", "labels", "reference", "reference_labels"),
        {"temperature": _LOW},
        {
            "candidates": ("reference", "both"),
            "denominator": ("all", "own_positive"),
            "average": ("anchors", "pairs"),
        },
    ),
    "SoftContrastive": Kind(
        softcontrastive.softcontrastive,
        ("embeddings", "targets"),
        {"temperature": _LOW, "bandwidth": (0.5, 1.0)},
        {"weights": ("rbf",), "normalise": ("row", "positives", "none")},
    ),
}


@dataclass(frozen=True)
class Drawn:
    """A function, and the loss that it is."""

    fn: Any
    loss: str
    fields: dict[str, Any]

    def named_by(self, statement) -> bool:
        """Whether a statement of nearfar says this and nothing else."""
        found = statement.loss
        if type(found).__name__ != self.loss or statement.changes or statement.swapped:
            return False
        return all(_same(getattr(found, name), value) for name, value in self.fields.items())


def _same(found, wanted) -> bool:
    if isinstance(wanted, float) and not isinstance(found, bool):
        return abs(found - wanted) <= 1e-6 * abs(wanted)
    return found == wanted


def draw(seed, name=None) -> Drawn:
    rng = np.random.default_rng(seed)
    name = name or sorted(KINDS)[rng.integers(len(KINDS))]
    kind = KINDS[name]
    told = {key: _pick(rng, values) for key, values in kind.told.items()}
    stated = {key: _pick(rng, values) for key, values in kind.choices.items()}
    stated["reduction"] = _pick(rng, kind.reductions)
    # What is one function has one name: in a sum nothing is left out of a mean, and pairs are
    # never without positives.
    total = stated["reduction"] == "sum"
    if total and "average" in stated:
        stated["average"] = "anchors"
    if (total and stated.get("without_positives") == "zero") or stated.get("form") == "pairs":
        stated["without_positives"] = "skip"
    stated["scale"] = _pick(rng, (1.0, 1.0, 2.0, 0.5))

    def fn(*arrays, **given):
        return kind.loops(*arrays, **{**told, **stated, **given})

    by_place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(key, by_place) for key in kind.inputs]
    parameters += [inspect.Parameter(key, by_place, default=x) for key, x in told.items()]
    fn.__signature__ = inspect.Signature(parameters)
    return Drawn(fn, name, {**told, **stated})


def _pick(rng, values):
    return values[rng.integers(len(values))]
