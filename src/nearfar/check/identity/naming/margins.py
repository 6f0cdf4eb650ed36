"""Conventions of triplets and pairs as losses with a margin."""

from typing import Any

from nearfar.check.identity.naming.statement import Statement
from nearfar.check.identity.naming.words import distance_of, divided
from nearfar.check.identity.space import Pairs, Triplets
from nearfar.losses import BatchTriplet, PairMargin, Triplet


def name_triplets(shape: Triplets, divisor: str, kind: str, margin: float) -> Statement:
    distance, changes = distance_of(shape)
    if shape.form != "hinge":
        changes.append(
            {"squared hinge": "each triplet's loss is squared",
             "soft": "softplus instead of a hinge", "linear": "no hinge"}[shape.form]
        )  # fmt: skip
        if not shape.with_margin:
            margin = 0.0
    if shape.swapped:
        changes.append("positive and negative have changed places")
    if shape.counts_alone:
        changes.append("an anchor without positives counts, with a distance of 0 to them")
    base: dict[str, Any] = {"margin": margin, "distance": distance}
    if divisor == "nothing":
        base["reduction"] = "sum"
    if kind == "triplets":
        changes += divided(divisor, "nothing", "anchors")
        return Statement(Triplet(**base), tuple(changes))
    if shape.mining == "easy":
        changes.append("the nearest positive and the farthest negative are taken")
    elif shape.mining != "all":
        base["mining"] = shape.mining
    if divisor == "triplets" and shape.mining in ("all", "all_semihard"):
        base["count"] = "all"
    elif not (divisor == "nothing" or (divisor == "active") == (base.get("mining", "all") in
              ("all", "all_semihard"))):  # fmt: skip
        changes += divided(divisor)
    elif divisor == "anchors" and shape.counts_alone:
        pass  # where all count there is nothing to say
    elif divisor == "anchors" and shape.mining == "hard":
        base["without_positives"] = "zero"
    elif divisor in ("anchors", "used anchors") and shape.mining != "hard":
        changes += divided(divisor)
    return Statement(BatchTriplet(**base), tuple(changes))


def name_pairs(shape: Pairs, divisor: str, kind: str, margin: float) -> Statement:
    distance, changes = distance_of(shape)
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
