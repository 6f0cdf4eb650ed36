"""Conventions of ranked rows, hard negatives and sigmoids as their losses."""

from nearfar.check.identity.naming.statement import REMARKS, Statement
from nearfar.check.identity.naming.words import divided, similarity_of, uses_of
from nearfar.check.identity.space import Hard, Ranks, Sigmoid
from nearfar.losses import HCL, SigLIP, SupCR


def name_ranks(shape: Ranks, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = similarity_of(shape)
    changes += uses_of(shape.powers)
    order = "farther" if shape.order in (">=", ">") else "nearer"
    if shape.order in (">", "<"):
        own = "" if shape.with_own else ", the positive itself too"
        changes.append(
            f"{shape.order} for {shape.order}=: ties are left out of the denominator{own}"
        )
    if shape.include_self and shape.self_positive:
        changes.append(
            "the diagonal is included: the anchor counts as its own positive and in denominators"
        )
    elif shape.include_self:
        changes.append("the anchor is counted in its own denominators")
    elif shape.self_positive:
        changes.append("the anchor counts as its own positive")
    reduction = "mean"
    if shape.positives in ("mean_log", "log_mean", "log_sum"):
        if shape.positives != "mean_log":
            changes.append(REMARKS["positives", shape.positives])
        reduction = "sum" if divisor == "nothing" else "mean"
        changes += divided(divisor, "nothing", "anchors")
    elif divisor != "pairs":
        changes.append(
            "all pairs are summed, without any mean"
            if divisor == "nothing"
            else "an anchor's pairs are summed, not averaged"
        )
        changes += divided(divisor, "nothing", "anchors")
    loss = SupCR(
        temperature=temperature,
        similarity=similarity,
        order=order,
        label_distance=shape.label_distance,
        reduction=reduction,
    )
    return Statement(loss, tuple(changes))


def name_hard(shape: Hard, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = similarity_of(shape)
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
    if shape.anchors != "all":
        changes.append(f"one direction: only the {shape.anchors} view's rows are anchors")
    changes += divided(divisor, "nothing", "anchors")
    loss = HCL(
        temperature=temperature,
        tau_plus=shape.tau_plus,
        beta=shape.beta,
        similarity=similarity,
        reduction="sum" if divisor == "nothing" else "mean",
    )
    return Statement(loss, tuple(changes))


def name_sigmoid(shape: Sigmoid, divisor: str, kind: str, temperature: float) -> Statement:
    similarity, changes = similarity_of(shape)
    if shape.scope != "other":
        changes.append("rows of the same side are negatives too")
    if shape.averaged:
        changes.append("negatives are averaged")
    if shape.anchors == "all" and (shape.scope != "other" or shape.averaged):
        changes.append("both directions")
    changes += divided(divisor, "nothing", "anchors")
    # Both directions of a sum over all pairs are that sum, twice.
    loss = SigLIP(
        temperature=temperature,
        bias=shape.bias,
        similarity=similarity,
        reduction="sum" if divisor == "nothing" else "mean",
    )
    return Statement(loss, tuple(changes), shape.anchors == "second")
