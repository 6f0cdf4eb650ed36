"""A convention of the space in nearfar's words: a loss, and what that loss would have to change."""

from dataclasses import dataclass, fields, replace
from typing import Any

from nearfar.check.identity.search import Match
from nearfar.check.identity.space import (
    HALVES,
    WHOLE,
    Hard,
    Pairs,
    Ranks,
    Sigmoid,
    Softmax,
    Triplets,
)
from nearfar.losses import (
    CLIP,
    HCL,
    BatchTriplet,
    InfoNCE,
    Loss,
    NTXent,
    PairMargin,
    SigLIP,
    SupCon,
    SupCR,
    Triplet,
)


@dataclass(frozen=True)
class Statement:
    """A loss of nearfar with what it cannot say; `loss` alone is exact where `changes` is empty."""

    loss: Loss
    changes: tuple[str, ...] = ()
    swapped: bool = False  # the inputs change places

    def __str__(self) -> str:
        text = str(self.loss) + (" called as (b, a)" if self.swapped else "")
        return ", but ".join([text, *self.changes])

    def remarks(self) -> list[str]:
        """What differs from the loss as published, fields and changes, in words."""
        found = []
        for field in fields(self.loss):
            value = getattr(self.loss, field.name)
            text = _REMARKS.get((field.name, value))
            if value != field.default and text:
                found.append(text)
        by = getattr(self.loss, "scale_by", "constant") == "temperature"
        if self.loss.scale != 1 or by:
            found.insert(0, _factor(self.loss.scale, by))
        return [*found, *self.changes]


def _factor(scale: float, by_temperature: bool) -> str:
    if by_temperature:
        known = {1.0: "", round(1 / 0.07, 4): " / 0.07"}.get(round(scale, 4))
        times = f"{scale:.6g} " if known is None else ""
        return f"multiplied by {times}temperature{known or ''}"
    if scale == -1:
        return "the sign is reversed"
    return f"multiplied by {scale:.6g}" + (": the sign is reversed" if scale < 0 else "")


_REMARKS = {
    ("similarity", "dot"): "rows are not normalised inside",
    ("similarity", "neg_sqeuclidean"): "similarity is minus the squared distance",
    ("similarity", "neg_euclidean"): "similarity is minus the distance",
    ("denominator", "own_positive"): "each pair's denominator holds no other positive",
    ("denominator", "negatives"): "the positive is left out of the denominator",
    ("positives", "sum_log"): "an anchor's positives are summed, not averaged",
    ("positives", "log_mean"): "the mean over positives is inside the logarithm",
    ("positives", "log_sum"): "log of a sum: the positives are added inside the logarithm",
    ("include_self", True): "the anchor is counted in its own denominator",
    ("include_self", "positive"): "the anchor counts as its own positive",
    ("anchors", "first"): "one direction: only the first view's rows are anchors",
    ("without_positives", "zero"): "anchors without positives count as 0 in the mean",
    ("average", "pairs"): "the mean is over positive pairs, not over anchors",
    ("reduction", "sum"): "a sum instead of a mean",
    ("reduction", "none"): "one value per anchor, no mean",
    ("order", "nearer"): "<= for >=: the denominator holds the rows whose target is nearer",
    ("label_distance", "l2"): "targets of several columns are compared by l2",
    ("count", "all"): "the mean is over all triplets, not the active ones",
}


def state(match: Match, kind: str, parameter: float) -> Statement:
    """Name a match whose temperature or margin is `parameter`."""
    value = parameter if match.fixed is None else match.fixed
    made = _NAMERS[type(match.shape)](match.shape, match.divisor, kind, value)
    loss, changes = made.loss, list(made.changes)
    changed: dict[str, Any] = {"scale": _neat(match.factor * loss.scale)}
    if match.power == 1 and "scale_by" in loss.declarations:
        changed["scale_by"] = "temperature"
    elif match.power:
        changed["scale"] = _neat(changed["scale"] * parameter**match.power)
        factor = match.factor * made.loss.scale
        times = "" if abs(factor - 1) < 1e-9 else f"{factor:.6g} x "
        changes.append(f"the factor is {times}{'' if match.power == 1 else '1 / '}temperature")
    return Statement(replace(loss, **changed), tuple(changes), made.swapped)


def _neat(x: float) -> float:
    short = float(f"{x:.6g}")
    return short if abs(short - x) <= 1e-9 * abs(x) else x


NORMALISED = "rows are normalised first"
"""Of distances, which do it nowhere by themselves; libraries that do are losses with this said."""


def _similarity(shape: Any) -> tuple[str, list[str]]:
    changes = []
    if shape.metric == "half":
        return "cosine", ["the similarity is (cos + 1) / 2: the temperature acts as twice as high"]
    if shape.metric == "dot":
        name = "cosine" if shape.normalised == "all" else "dot"
    else:
        name = f"neg_{shape.metric}"
        if shape.normalised == "all":
            changes.append(NORMALISED)
    if shape.normalised not in ("all", "none"):
        inputs = " and ".join(("first", "second", "third")[int(k)] for k in shape.normalised
                              if k in "012")  # fmt: skip
        changes.append(
            _COLUMNS.get(shape.normalised, f"only the {inputs} input's rows are normalised")
        )
    if shape.sign < 0:
        changes.append("the similarity has the wrong sign")
    return name, changes


_COLUMNS = {
    "columns": "columns are normalised instead of rows",
    "columns of both": "columns are normalised instead of rows, over both views together",
}


def _temperature(powers: tuple[int, int]) -> list[str]:
    above, below = (
        {1: "divided by it", 0: "not divided by it", 2: "divided by it twice",
         -1: "multiplied by it"}[p] for p in powers
    )  # fmt: skip
    if powers == (1, 1):
        return []
    if powers == (0, 0):
        return ["the temperature is not used"]
    if powers == (2, 2):
        return ["the temperature is used twice: similarities are divided by its square"]
    if powers == (-1, -1):
        return ["similarities are multiplied by the temperature instead of divided"]
    return [
        f"temperature: the positive's similarity is {above}, the denominator's are {below}",
    ]


def _divided(divisor: str, *known: str) -> list[str]:
    if divisor in known:
        return []
    return {
        "anchors squared": ["divided by the number of anchors squared"],
        "anchors times others": ["divided by the number of ordered pairs"],
        "nothing": ["a sum instead of a mean"],
        "active": ["the mean is over the active triplets"],
        "anchors": ["divided by the number of anchors"],
        "used anchors": ["divided by the number of anchors that have terms"],
        "triplets": ["divided by the number of triplets"],
        "pairs": ["divided by the number of pairs"],
    }[divisor]


def _softmax(shape: Softmax, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = _similarity(shape)
    changes += _temperature(shape.powers) + _slips(shape)
    base: dict[str, Any] = {"temperature": temperature, "similarity": similarity}
    if divisor == "nothing" and shape.over not in WHOLE:
        base["reduction"] = "sum"
    if shape.one and not shape.softmaxed:
        changes.append("1 is added to every denominator")
    if shape.averaged:
        changes.append("the denominator is a mean instead of a sum")
    if shape.inside == "twice":
        changes.append("positives are among the negatives: they count twice in the denominator")
    as_field = kind == "labels" and _as_field(shape)
    if shape.self_positive and not as_field:
        changes.append(
            "the anchor counts as its own positive, in its own denominator too"
            if shape.self_in
            else "the anchor counts as its own positive"
        )
    elif shape.self_in and (kind not in ("views", "labels") or shape.scope == "other"):
        changes.append("the anchor is counted in its own denominator")
    if shape.over == "log_of_sums":
        changes.append("one logarithm of sums over the whole batch")
    elif shape.over == "log_of_mean":
        changes.append("the mean over anchors is inside the logarithm")
    alone = shape.self_in and not shape.self_positive
    if kind == "labels":
        inside = "positive" if as_field else alone
        return _supcon(shape, divisor, base | {"include_self": inside}, changes)
    several = shape.self_positive and shape.over in ("log_mean", "log_sum", "sum_log")
    if several:
        changes.append({"log_mean": "the mean over its positives is inside the logarithm",
                        "log_sum": "its positives are added inside the logarithm",
                        "sum_log": "its positives are summed"}[shape.over])  # fmt: skip
    changes += _divided(divisor, "nothing", "anchors")
    if shape.self_positive and shape.inside == "own":
        changes.append("each positive has a denominator of its own")
    if kind in ("queue", "own"):
        if shape.inside == "none":
            changes.append("the positive is left out of the denominator")
        if shape.scope != "queue":
            changes.append({"queue and keys": "other rows' keys are negatives too",
                            "keys": "negatives are the other keys"}[shape.scope])  # fmt: skip
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
    if shape.over in HALVES:
        once = "" if shape.over == "log_of_two" else ", with the positive in it once"
        found.append(f"one logarithm of the sums over both views{once}")
    return found


def _as_field(shape: Softmax) -> bool:
    """The anchor is a positive like the others: in a denominator where they are."""
    return shape.self_positive and shape.self_in == (shape.inside == "all")


def _of_views(shape: Softmax, base: dict[str, Any], alone: bool, changes: list[str]) -> Statement:
    everyone = shape.group == "all" or shape.over in HALVES
    if shape.scope == "other":
        if shape.inside == "none":
            changes.append("the positive is left out of the denominator")
        if everyone:
            # A pair's term is the mean of its two anchors'.
            scale = 2.0 if base.get("reduction") == "sum" else 1.0
            return Statement(CLIP(**base, scale=scale), tuple(changes))
        return Statement(InfoNCE(**base), tuple(changes), shape.group == "second")
    if shape.scope == "same":
        changes.append("negatives come from the anchor's own view only")
    loss = NTXent(
        **base,
        denominator="negatives" if shape.inside == "none" else "all",
        include_self=alone,
        anchors="both" if everyone else "first",
    )
    return Statement(loss, tuple(changes), shape.group == "second")


def _supcon(shape: Softmax, divisor: str, base: dict[str, Any], changes: list[str]) -> Statement:
    if shape.inside != "twice":
        base["denominator"] = {"all": "all", "own": "own_positive", "none": "negatives"}[
            shape.inside
        ]
    if not shape.over.startswith("log_of"):
        base["positives"] = shape.over
    if divisor == "anchors":
        base["without_positives"] = "zero"
    if divisor == "pairs" and shape.over == "sum_log":
        base |= {"average": "pairs", "positives": "mean_log"}
    else:
        changes += _divided(divisor, "nothing", "anchors", "used anchors")
    return Statement(SupCon(**base), tuple(changes))


def _ranks(shape: Ranks, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = _similarity(shape)
    changes += _temperature(shape.powers)
    order = "farther" if shape.order in (">=", ">") else "nearer"
    if shape.order in (">", "<"):
        own = "" if shape.with_own else ", the positive itself too"
        changes.append(
            f"{shape.order} for {shape.order}=: ties are left out of the denominator{own}"
        )
    if shape.self_in and shape.self_positive:
        changes.append(
            "the diagonal is included: the anchor counts as its own positive and in denominators"
        )
    elif shape.self_in:
        changes.append("the anchor is counted in its own denominators")
    elif shape.self_positive:
        changes.append("the anchor counts as its own positive")
    reduction = "mean"
    if shape.over in ("mean_log", "log_mean", "log_sum"):
        if shape.over != "mean_log":
            changes.append(_REMARKS["positives", shape.over])
        reduction = "sum" if divisor == "nothing" else "mean"
        changes += _divided(divisor, "nothing", "anchors")
    elif divisor != "pairs":
        changes.append(
            "all pairs are summed, without any mean"
            if divisor == "nothing"
            else "an anchor's pairs are summed, not averaged"
        )
        changes += _divided(divisor, "nothing", "anchors")
    loss = SupCR(
        temperature=temperature,
        similarity=similarity,
        order=order,
        label_distance=shape.label_distance,
        reduction=reduction,
    )
    return Statement(loss, tuple(changes))


def _hard(shape: Hard, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = _similarity(shape)
    if shape.floor == "one":
        changes.append("the lower bound is exp(-1/temperature), without the number of negatives")
    elif shape.floor == "zero":
        changes.append("negatives have no lower bound but 0")
    if shape.weights == "product":
        changes.append("weights are beta exp(s) instead of exp(beta s)")
    if not shape.counted:
        changes.append("the mean over negatives is not multiplied by their number")
    if shape.scope != "both":
        changes.append("negatives come from the other view only")
    if shape.group != "all":
        changes.append(f"one direction: only the {shape.group} view's rows are anchors")
    changes += _divided(divisor, "nothing", "anchors")
    loss = HCL(
        temperature=temperature,
        tau_plus=shape.tau_plus,
        beta=shape.beta,
        similarity=similarity,
        reduction="sum" if divisor == "nothing" else "mean",
    )
    return Statement(loss, tuple(changes))


def _sigmoid(shape: Sigmoid, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = _similarity(shape)
    if shape.scope != "other":
        changes.append("rows of the same side are negatives too")
    if shape.averaged:
        changes.append("negatives are averaged")
    if shape.group == "all" and (shape.scope != "other" or shape.averaged):
        changes.append("both directions")
    changes += _divided(divisor, "nothing", "anchors")
    # Both directions of a sum over all pairs are that sum, twice.
    loss = SigLIP(
        temperature=temperature,
        bias=shape.bias,
        similarity=similarity,
        reduction="sum" if divisor == "nothing" else "mean",
    )
    return Statement(loss, tuple(changes), shape.group == "second")


def _distance(shape: Any) -> tuple[str, list[str]]:
    if shape.metric == "dot":
        if shape.normalised == "all":
            return "cosine", []
        return "cosine", ["rows are not normalised"]
    return shape.metric, [NORMALISED] if shape.normalised == "all" else []


def _triplets(shape: Triplets, divisor: str, kind: str, margin: float) -> Statement:
    distance, changes = _distance(shape)
    if shape.form != "hinge":
        changes.append(
            {"squared hinge": "each triplet's loss is squared",
             "soft": "softplus instead of a hinge", "linear": "no hinge"}[shape.form]
        )  # fmt: skip
        if not shape.with_margin:
            margin = 0.0
    if shape.swapped:
        changes.append("positive and negative have changed places")
    base: dict[str, Any] = {"margin": margin, "distance": distance}
    if divisor == "nothing":
        base["reduction"] = "sum"
    if kind == "triplets":
        changes += _divided(divisor, "nothing", "anchors")
        return Statement(Triplet(**base), tuple(changes))
    if shape.mining == "easy":
        changes.append("the nearest positive and the farthest negative are taken")
    elif shape.mining != "all":
        base["mining"] = shape.mining
    if divisor == "triplets" and shape.mining in ("all", "all_semihard"):
        base["count"] = "all"
    elif not (divisor == "nothing" or (divisor == "active") == (base.get("mining", "all") in
              ("all", "all_semihard"))):  # fmt: skip
        changes += _divided(divisor)
    elif divisor == "anchors" and shape.mining == "hard":
        base["without_positives"] = "zero"
    elif divisor in ("anchors", "used anchors") and shape.mining != "hard":
        changes += _divided(divisor)
    return Statement(BatchTriplet(**base), tuple(changes))


def _pairs(shape: Pairs, divisor: str, kind: str, margin: float) -> Statement:
    distance, changes = _distance(shape)
    if shape.exponents == (1, 1):
        changes.append("distance and hinge are not squared")
    elif shape.exponents == (1, 2):
        changes.append("the distance of positives is not squared")
    elif shape.exponents == (2, 1):
        changes.append("the hinge of negatives is not squared")
    if shape.halved:
        active = ", those above 0" if shape.active else ""
        changes.append(f"positive and negative pairs are averaged apart{active}, and added")
        return Statement(PairMargin(margin=margin, distance=distance, scale=2), tuple(changes))
    loss = PairMargin(margin=margin, distance=distance, scale=2)
    if divisor == "anchors squared":
        changes.append("divided by the number of rows squared: the diagonal is counted")
    elif divisor == "nothing":
        changes.append("a sum over ordered pairs")
    elif divisor == "anchors":
        changes.append("each row's pairs are summed, not averaged")
    return Statement(loss, tuple(changes))


_NAMERS: dict[type, Any] = {
    Softmax: _softmax, Ranks: _ranks, Hard: _hard, Sigmoid: _sigmoid, Triplets: _triplets,
    Pairs: _pairs,
}  # fmt: skip
