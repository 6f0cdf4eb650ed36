"""A convention of the softmax family as one of its losses."""

from typing import Any

from nearfar.check.identity.naming.statement import Statement
from nearfar.check.identity.naming.words import divided, similarity_of, uses_of
from nearfar.check.identity.space import HALVES, WHOLE, Softmax
from nearfar.losses import CLIP, InfoNCE, NTXent, SupCon


def name_softmax(shape: Softmax, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = similarity_of(shape)
    changes += uses_of(shape.powers) + _slips(shape)
    base: dict[str, Any] = {"temperature": temperature, "similarity": similarity}
    if divisor == "nothing" and shape.positives not in WHOLE:
        base["reduction"] = "sum"
    if shape.one and not shape.softmaxed:
        changes.append("1 is added to every denominator")
    if shape.averaged:
        changes.append("the denominator is a mean instead of a sum")
    if shape.denominator == "twice":
        changes.append("positives are among the negatives: they count twice in the denominator")
    as_field = kind == "labels" and _as_field(shape)
    if shape.self_positive and not as_field:
        changes.append(
            "the anchor counts as its own positive, in its own denominator too"
            if shape.include_self
            else "the anchor counts as its own positive"
        )
    elif shape.include_self and (kind not in ("views", "labels") or shape.scope == "other"):
        changes.append("the anchor is counted in its own denominator")
    if shape.positives == "log_of_sums":
        changes.append("one logarithm of sums over the whole batch")
    elif shape.positives == "log_of_mean":
        changes.append("the mean over anchors is inside the logarithm")
    alone = shape.include_self and not shape.self_positive
    if kind == "labels":
        inside = "positive" if as_field else alone
        return _supcon(shape, divisor, base | {"include_self": inside}, changes)
    several = shape.self_positive and shape.positives in ("log_mean", "log_sum", "sum_log")
    if several:
        changes.append({"log_mean": "the mean over its positives is inside the logarithm",
                        "log_sum": "its positives are added inside the logarithm",
                        "sum_log": "its positives are summed"}[shape.positives])  # fmt: skip
    changes += divided(divisor, "nothing", "anchors")
    if shape.self_positive and shape.denominator == "own_positive":
        changes.append("each positive has a denominator of its own")
    if kind in ("queue", "own"):
        if shape.denominator == "negatives":
            changes.append("the positive is left out of the denominator")
        if shape.scope == "queue and keys":
            base["in_batch"] = "always"
        elif shape.scope == "keys":
            changes.append("negatives are the other keys")
        return Statement(InfoNCE(**base), tuple(changes))
    return _of_views(shape, base, alone, changes)


def _slips(shape: Softmax) -> list[str]:
    found = []
    if shape.margin:
        found.append(f"a margin of {shape.margin:g} is taken off the positive's similarity")
    if shape.smoothing:
        found.append(f"labels are smoothed by {shape.smoothing:g}")
    if shape.softmaxed:
        masked = "; a masked entry counts as exp(0)" if shape.one else ""
        found.append(f"softmax is taken before cross-entropy, which takes it again{masked}")
    if shape.mispaired:
        found.append("positives are rows i and i ^ 1 of the views one below the other: no partners")
    if shape.positives in HALVES:
        once = "" if shape.positives == "log_of_two" else ", with the positive in it once"
        found.append(f"one logarithm of the sums over both views{once}")
    return found


def _as_field(shape: Softmax) -> bool:
    """The anchor is a positive like the others: in a denominator where they are."""
    return shape.self_positive and shape.include_self == (shape.denominator == "all")


def _of_views(shape: Softmax, base: dict[str, Any], alone: bool, changes: list[str]) -> Statement:
    everyone = shape.anchors == "all" or shape.positives in HALVES
    if shape.scope == "other":
        if shape.denominator == "negatives":
            changes.append("the positive is left out of the denominator")
        if everyone:
            # A pair's term is the mean of its two anchors'.
            scale = 2.0 if base.get("reduction") == "sum" else 1.0
            return Statement(CLIP(**base, scale=scale), tuple(changes))
        return Statement(InfoNCE(**base), tuple(changes), shape.anchors == "second")
    if shape.scope == "same":
        changes.append("negatives come from the anchor's own view only")
    loss = NTXent(
        **base,
        denominator="negatives" if shape.denominator == "negatives" else "all",
        include_self=alone,
        anchors="both" if everyone else "first",
    )
    return Statement(loss, tuple(changes), shape.anchors == "second")


def _supcon(shape: Softmax, divisor: str, base: dict[str, Any], changes: list[str]) -> Statement:
    if shape.denominator != "twice":
        base["denominator"] = shape.denominator
    if not shape.positives.startswith("log_of"):
        base["positives"] = shape.positives
    if divisor == "anchors":
        base["without_positives"] = "zero"
    if divisor == "pairs" and shape.positives == "sum_log":
        base |= {"average": "pairs", "positives": "mean_log"}
    else:
        changes += divided(divisor, "nothing", "anchors", "used anchors")
    return Statement(SupCon(**base), tuple(changes))
