"""Calls in which anchors meet more than their batch, or not all of it, and the loops that say what
each is."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from oracles import clip, hcl, infonce, ntxent, supcon
from oracles.candidates import Exclusion

import nearfar as nf

_RNG = np.random.default_rng(3)


def _rows(*shape):
    return _RNG.normal(size=shape)


X, R = _rows(13, 5), _rows(9, 5)
Y, YR = _RNG.integers(0, 4, 13), _RNG.integers(0, 5, 9)
MANY, MANY_R = (_RNG.random((n, 4)) < 0.35 for n in (13, 9))
A = _rows(8, 5)
B = A + 0.7 * _rows(8, 5)
LONGER = _rows(10, 5)
IDS = np.array([3, 1, 3, 2, 1, 5, 6, 3])
OTHER_IDS, LONGER_IDS = np.array([3, 1, 2, 2, 5, 5, 6, 1]), np.array([1, 1, 2, 3, 5, 6, 7, 3, 2, 1])
SHARED, OWN, QUEUE = _rows(6, 5), _rows(8, 3, 5), _rows(7, 5)
VALID = _RNG.random((8, 3)) < 0.6
GUIDE = {"a": _rows(8, 6), "x": _rows(13, 6), "r": _rows(9, 6), "own": _rows(8, 3, 6)}
GUIDE["b"] = GUIDE["a"] + 0.8 * _rows(8, 6)
WEIGHTS = {8: _RNG.uniform(0.2, 2, 8), 13: _RNG.uniform(0.2, 2, 13)}


def _log_q(*shape):
    return np.log(_RNG.uniform(0.05, 0.9, shape))


BY_SELF = nf.Exclude(by="self", margin=0.1)
NEARLY = nf.Exclude(by="self", margin=-0.2)
RELATIVE = nf.Exclude(by="self", margin=0.3, kind="relative")
BY_GUIDE = nf.Exclude(margin=0.1)
GUIDED = nf.Exclude(margin=0.2, kind="relative")


@dataclass(frozen=True)
class Call:
    loss: nf.Loss
    loops: Any
    given: tuple[Any, ...]
    named: dict[str, Any] = field(default_factory=dict)

    def oracle(self, *given: Any) -> Any:
        fields = {name: getattr(self.loss, name) for name in self.loss.declarations}
        exclude = fields.pop("exclude", None)
        if exclude is not None:
            fields["exclude"] = Exclusion(exclude.by, exclude.margin, exclude.kind)
        if not fields.get("hardness"):
            fields.pop("hardness", None)
        named = {name: _lists(x) for name, x in self.named.items()}
        return self.loops(*(_lists(x) for x in given or self.given), **named, **fields)

    @property
    def embeddings(self) -> list[int]:
        """Numbers of the arguments that get gradients."""
        names = zip(self.loss.inputs, self.given, strict=False)
        return [k for k, (n, x) in enumerate(names) if n in self.loss.embeddings and x is not None]


def _lists(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(_lists, x))
    return x.tolist() if isinstance(x, np.ndarray) else x


def _labels() -> dict[str, Call]:
    found = {}
    reference = (X, Y, R, YR)

    def add(name: str, given: tuple[Any, ...], named: dict[str, Any] | None = None, **fields: Any):
        found[f"supcon-{name}"] = Call(nf.SupCon(**fields), supcon.supcon, given, named or {})

    for denominator in ("all", "own_positive", "negatives"):
        for positives in ("mean_log", "log_mean"):
            fields = {"denominator": denominator, "positives": positives, "temperature": 0.5}
            add(f"{denominator}-{positives}", reference, **fields)
            both = fields | {"candidates": "both", "temperature": 0.02}
            add(f"{denominator}-{positives}-both", reference, **both)
    add("pairs", reference, average="pairs", reduction="none", similarity="dot", temperature=1.0)
    add("euclidean", reference, similarity="neg_euclidean", candidates="both")
    add("many", (X, MANY.astype(float), R, MANY_R.astype(float)), candidates="both")
    add("self", reference, include_self=True, candidates="both")
    add("positive-self", reference, include_self="positive", candidates="both", reduction="sum")
    add("empty", (X, Y, R[:0], YR[:0]), candidates="both")
    add("empty-many", (X, MANY.astype(float), R[:0], YR[:0]), candidates="both")
    add("one-row", (X[:1], Y[:1], R, np.array([Y[0], *YR[1:]])))
    weights = {"sample_weight": WEIGHTS[13]}
    add("weights", (X, Y), weights, without_positives="zero")
    add("weights-none", (X, Y), weights, reduction="none")
    add("weights-pairs", (X, Y), weights, average="pairs")
    add("log-q", (X, Y), {"log_q": _log_q(13)}, denominator="own_positive")
    add("log-q-both", reference, {"log_q": _log_q(22)} | weights, candidates="both")
    add("log-q-reference", reference, {"log_q": _log_q(9)}, positives="log_sum", temperature=0.01)
    add("exclude", (X, Y), exclude=BY_SELF, temperature=0.5)
    add("exclude-relative", (X, Y), exclude=RELATIVE, denominator="negatives", include_self=True)
    add("exclude-both", reference, exclude=NEARLY, candidates="both", denominator="own_positive")
    add("guide", (X, Y), {"guide": (GUIDE["x"],)}, exclude=GUIDED, temperature=0.01)
    guides = {"guide": (GUIDE["x"], GUIDE["r"])}
    add("guide-reference", reference, guides, exclude=BY_GUIDE, temperature=0.5)
    return found


def _pairs() -> dict[str, Call]:
    found = {}

    def add(loss: nf.Loss, name: str, *given: Any, **named: Any) -> None:
        loops = {
            "NTXent": ntxent.ntxent,
            "DCL": ntxent.dcl,
            "HCL": hcl.hcl,
            "CLIP": clip.clip,
        }[type(loss).__name__]
        found[f"{type(loss).__name__.lower()}-{name}"] = Call(loss, loops, given, named)

    guides = {"guide": (GUIDE["a"], GUIDE["b"])}
    facts = {"log_q": (_log_q(8), _log_q(8)), "sample_weight": WEIGHTS[8]}
    add(nf.NTXent(), "ids", A, B, IDS)
    add(nf.NTXent(anchors="first", temperature=0.01), "first", A, B, IDS, **facts)
    add(nf.NTXent(same="negative", include_self=True), "negative", A, B, IDS, **facts)
    add(nf.NTXent(exclude=BY_SELF, similarity="neg_euclidean"), "exclude", A, B, IDS)
    add(nf.NTXent(exclude=GUIDED, include_self=True), "guide", A, B, None, **guides, **facts)
    add(nf.NTXent(hardness=2.0, reduction="none"), "hardness", A, B, IDS)
    add(nf.DCL(exclude=RELATIVE), "exclude", A, B, IDS, **facts)
    add(nf.DCL(reduction="sum"), "weights", A, B, sample_weight=WEIGHTS[8])
    add(nf.DCL(same="negative"), "negative", A, B, IDS, **facts)
    add(nf.HCL(same="negative"), "negative", A, B, IDS, **facts)
    add(nf.HCL(exclude=NEARLY), "exclude", A, B, IDS, **facts)
    add(nf.HCL(exclude=BY_GUIDE, beta=0.0), "guide", A, B, **guides)
    for same in ("positive", "ignore", "negative"):
        add(nf.CLIP(same=same, temperature=0.3), same, A, B, IDS, **facts)
        add(nf.CLIP(same=same, temperature=0.01), f"{same}-sharp", A, B, (IDS, OTHER_IDS))
    add(nf.CLIP(reduction="none"), "none", A, B, IDS)
    add(nf.CLIP(), "longer", A, LONGER, (IDS, LONGER_IDS), sample_weight=WEIGHTS[8])
    add(nf.CLIP(exclude=BY_SELF), "exclude", A, B, IDS)
    add(nf.CLIP(exclude=NEARLY, similarity="neg_sqeuclidean"), "exclude-positive", A, B, IDS)
    add(nf.CLIP(exclude=BY_GUIDE, same="ignore"), "guide", A, B, IDS, **guides, **facts)
    return found


def _queries() -> dict[str, Call]:
    found = {}

    def add(name: str, *given: Any, named: dict[str, Any] | None = None, **fields: Any) -> None:
        fields = {"temperature": 0.3} | fields
        call = Call(nf.InfoNCE(**fields), infonce.infonce, (A, B, *given), named or {})
        found[f"infonce-{name}"] = call

    every = ("qp", "qq", "pq", "pp")
    facts = {"log_q": (_log_q(8), _log_q(8, 3), _log_q(7)), "sample_weight": WEIGHTS[8]}
    guides = {"guide": (GUIDE["a"], GUIDE["b"], GUIDE["own"])}
    add("ids", None, None, IDS)
    add("queue", None, QUEUE)
    add("empty-queue", None, QUEUE[:0], in_batch="always")
    add("shared", SHARED, QUEUE, in_batch="always", temperature=0.01)
    add("mine", OWN, None, None, VALID, in_batch="always")
    add("mine-alone", OWN, QUEUE, IDS, VALID, similarity="neg_euclidean")
    add("all", OWN, QUEUE, IDS, VALID, in_batch="always", own="all")
    add("joint", OWN, QUEUE, IDS, VALID, in_batch="always", own="all", directions=every)
    add("sharp", OWN, None, IDS, VALID, in_batch="always", directions=every, temperature=0.01)
    apart = {"directions": every, "partition": "per_direction"}
    add("apart", OWN, None, IDS, VALID, in_batch="always", **apart)
    add("apart-none", None, None, IDS, reduction="none", **apart)
    add("without", None, QUEUE, directions=("qq", "pp"), in_batch="never")
    add("pn", OWN, None, IDS, VALID, in_batch="always", own="all", directions=("qp", "pn"))
    add("negative", OWN, QUEUE, IDS, VALID, same="negative", in_batch="always")
    add("facts", OWN, QUEUE, IDS, VALID, named=facts, in_batch="always", own="all")
    add("facts-mine", OWN, QUEUE, IDS, VALID, named=facts, in_batch="always")
    add("exclude", OWN, QUEUE, IDS, VALID, exclude=BY_SELF, in_batch="always")
    add("guide", OWN, named=guides, exclude=GUIDED, in_batch="always", directions=every)
    add("hardness", OWN, QUEUE, IDS, VALID, hardness=3.0, in_batch="always", own="all")
    return found


CALLS = _labels() | _pairs() | _queries()
