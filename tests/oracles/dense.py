"""The same losses as dense formulas in torch float64: every derivative by autograd.

Naive on purpose: n x n scores, n x n x d differences. `test_dense.py` holds them to the loops.
"""

import math

import numpy as np
import torch

from oracles.supcon import share_label
from oracles.supcr import ORDERS, label_distances


def similarities(x, y, similarity):
    """(n, d), (m, d) -> (n, m)."""
    if similarity == "cosine":
        return _unit(x) @ _unit(y).T
    if similarity == "dot":
        return x @ y.T
    square = ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)
    if similarity == "neg_sqeuclidean":
        return -square
    # The root has no derivative at 0: a zero distance gets none.
    apart = square > 0
    return -torch.where(apart, torch.where(apart, square, 1.0).sqrt(), 0.0)


def supcon(
    embeddings,
    labels,
    *,
    temperature=0.1,
    similarity="cosine",
    denominator="all",
    positives="mean_log",
    include_self=False,
    without_positives="skip",
    average="anchors",
    anchors=None,
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """Scalar, or (n,) with `reduction="none"`; the first rows alone if `anchors` says how many."""
    n = len(embeddings)
    scale = scale * temperature if scale_by == "temperature" else scale
    z = similarities(embeddings, embeddings, similarity) / temperature
    eye = torch.eye(n, dtype=torch.bool)
    same = _sharing(labels) & ~eye
    own = eye & (include_self is True)
    if include_self == "positive":
        same |= eye
    if anchors is not None:
        same &= torch.arange(n)[:, None] < anchors
    if denominator == "all":
        term = _log_sum_exp(z, ~eye | own | same)[:, None] - z
    else:
        against = _log_sum_exp(z, (~_sharing(labels) & ~eye) | own)[:, None]
        if denominator == "own_positive":
            # A positive without negatives: log(exp(z) / exp(z)).
            term = torch.where(against.isneginf(), 0.0, _softplus(_finite(against) - z))
        else:
            same = same & ~against.isneginf()
            term = _finite(against) - z

    term = torch.where(same, term, 0.0)
    count = same.sum(1).to(z.dtype)
    has = count > 0
    at_least_one = torch.where(has, count, 1.0)
    if average == "pairs" or positives == "sum_log":
        losses = term.sum(1)
    elif positives == "mean_log":
        losses = term.sum(1) / at_least_one
    else:
        losses = -_finite(_log_sum_exp(-term, same))
        if positives == "log_mean":
            losses = losses + at_least_one.log()
    losses = scale * torch.where(has, losses, 0.0)
    if reduction == "none":
        return losses[:anchors]
    if reduction == "sum":
        return losses.sum()
    if average == "pairs":
        counted = count.sum()
    else:
        counted = torch.tensor(float(n)) if without_positives == "zero" else has.sum()
    return losses.sum() / counted.clamp(min=1)


def ntxent(a, b, **fields):
    """SupCon of both views, each pair a class of two."""
    fields = {"temperature": 0.5, **fields}
    if fields.pop("anchors", "both") == "first":
        fields["anchors"] = len(a)
    # With one positive the two are one sum, and "own_positive" keeps the digits of a small loss.
    if fields.get("denominator", "all") == "all":
        fields["denominator"] = "own_positive"
    return supcon(torch.cat([a, b]), [*range(len(a)), *range(len(a))], **fields)


def infonce(
    query,
    positive,
    negatives=None,
    *,
    temperature=0.07,
    similarity="cosine",
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """Scalar, or (N,) with `reduction="none"`."""
    n = len(query)
    scale = scale * temperature if scale_by == "temperature" else scale
    z = similarities(query, positive, similarity) / temperature
    if negatives is None:
        against = _log_sum_exp(z, ~torch.eye(n, dtype=torch.bool))
    elif negatives.ndim == 2:
        against = torch.logsumexp(similarities(query, negatives, similarity) / temperature, 1)
    else:
        rows = [
            similarities(q[None], m, similarity)[0] for q, m in zip(query, negatives, strict=True)
        ]
        against = torch.logsumexp(torch.stack(rows) / temperature, 1)
    alone = against.isneginf()
    losses = scale * torch.where(alone, 0.0, _softplus(_finite(against) - z.diagonal()))
    return _reduced(losses, reduction)


def dcl(a, b, **fields):
    """Scalar, or (2N,) with `reduction="none"`."""
    return ntxent(a, b, **{"temperature": 0.1, "denominator": "negatives", **fields})


def hcl(
    a,
    b,
    *,
    temperature=0.5,
    tau_plus=0.1,
    beta=1.0,
    similarity="cosine",
    detach_weights=False,
    scale=1.0,
    reduction="mean",
):
    """Scalar, or (2N,) with `reduction="none"`."""
    rows = torch.cat([a, b])
    n = len(rows)
    z = similarities(rows, rows, similarity) / temperature
    eye = torch.eye(n, dtype=torch.bool)
    other_view = eye.roll(n // 2, 0)
    positive = z[other_view]
    if n == 2:
        return _reduced(0 * positive, reduction)
    weights = beta * (z.detach() if detach_weights else z)
    negative = ~eye & ~other_view
    mean = _log_sum_exp(weights + z, negative) - _log_sum_exp(weights, negative)
    share = (math.log(tau_plus) if tau_plus > 0 else -math.inf) + positive - mean
    above_zero = share < 0
    # Where the logarithm does not exist, any number in its place keeps NaN out of the gradient.
    kept = torch.log1p(-torch.where(above_zero, share, -1.0).exp())
    debiased = mean + kept - math.log1p(-tau_plus)
    # The floor moves with the temperature.
    floor = -1 / temperature
    estimate = torch.where(above_zero & (debiased > floor), debiased, floor)
    losses = scale * _softplus(math.log(n - 2) + estimate - positive)
    return _reduced(losses, reduction)


def clip(x, y, **fields):
    """Scalar, or (N,) with `reduction="none"`: InfoNCE both ways."""
    return (infonce(x, y, **fields) + infonce(y, x, **fields)) / 2


def siglip(x, y, *, temperature=0.1, bias=-10.0, similarity="cosine", scale=1.0, reduction="mean"):
    """Scalar, or (N,) with `reduction="none"`."""
    z = similarities(x, y, similarity) / temperature + bias
    sign = 1 - 2 * torch.eye(len(z), dtype=z.dtype)
    return _reduced(scale * _softplus(sign * z).sum(1), reduction)


def supcr(
    embeddings,
    targets,
    *,
    temperature=2.0,
    similarity="neg_euclidean",
    order="farther",
    label_distance="l1",
    scale=1.0,
    reduction="mean",
):
    """Scalar, or (n,) with `reduction="none"`."""
    n = len(embeddings)
    z = similarities(embeddings, embeddings, similarity) / temperature
    d = np.array(label_distances(targets, label_distance))
    # in_set[i, k, j]: j is in the denominator of anchor i and positive k, beside k itself.
    in_set = torch.tensor(ORDERS[order](d[:, None, :], d[:, :, None]).astype(bool))
    eye = torch.eye(n, dtype=torch.bool)
    in_set &= ~eye[:, None, :] & ~eye[None, :, :]
    against = _log_sum_exp(z.repeat_interleave(n, 0), in_set.reshape(n * n, n)).reshape(n, n)
    term = torch.where(against.isneginf() | eye, 0.0, _softplus(_finite(against) - z))
    return _reduced(scale * term.sum(1) / max(n - 1, 1), reduction)


def triplet(
    anchor,
    positive,
    negative,
    *,
    margin=0.2,
    distance="sqeuclidean",
    scale=1.0,
    reduction="mean",
):
    """Scalar, or (N,) with `reduction="none"`."""
    near, far = paired(anchor, positive, distance), paired(anchor, negative, distance)
    return _reduced(scale * (near - far + margin).relu(), reduction)


def batchtriplet(
    embeddings,
    labels,
    *,
    margin=0.2,
    mining="all",
    distance="euclidean",
    count="active",
    without_positives="skip",
    scale=1.0,
    reduction="mean",
):
    """Scalar, or (n,) with `reduction="none"`; of equally far rows the first is taken."""
    d = distances(embeddings, embeddings, distance)
    same, eye = _sharing(labels), torch.eye(len(d), dtype=torch.bool)
    # every[i, p, n]: the triplets that could be mined.
    every = (same & ~eye)[:, :, None] & ~same[:, None, :]
    every &= ~eye[:, None, :]  # a row without any label does not share one with itself
    mined = every & _mined(d.detach(), every, mining, margin)
    losses = torch.where(mined, (d[:, :, None] - d[:, None, :] + margin).relu(), 0.0)
    if reduction != "mean":
        each = scale * losses.sum((1, 2))
        return each if reduction == "none" else each.sum()
    active = count == "active" and mining in ("all", "all_semihard")
    terms = ((losses > 0) if active else mined).sum()
    if without_positives == "zero":
        terms = terms + (~every.flatten(1).any(1)).sum()
    return scale * losses.sum() / terms.clamp(min=1)


def _mined(d, every, mining, margin):
    """Which of the triplets are taken, a mask that broadcasts to (n, n, n)."""
    near, far, places = d[:, :, None], d[:, None, :], torch.arange(len(d))
    positive, negative = every.any(2), every.any(1)
    farthest = torch.where(negative, d, -math.inf).argmax(1)[:, None, None]
    if mining == "hard":
        nearest = torch.where(negative, d, math.inf).argmin(1)[:, None, None]
        hardest = torch.where(positive, d, -math.inf).argmax(1)[:, None, None]
        return (places[:, None] == hardest) & (places == nearest)
    if mining == "semihard":
        beyond = every & (far > near)
        nearest = torch.where(beyond, far, math.inf).argmin(2, keepdim=True)
        return places == torch.where(beyond.any(2, keepdim=True), nearest, farthest)
    if mining == "all_semihard":
        return (far > near) & (far <= near + margin)
    return torch.tensor(True)


def pairmargin(
    embeddings, labels, *, margin=1.0, distance="euclidean", scale=1.0, reduction="mean"
):
    """Scalar, or (n,) with `reduction="none"`."""
    d = distances(embeddings, embeddings, distance)
    n = len(d)
    off = torch.where(_sharing(labels), d, (margin - d).relu())
    off = torch.where(torch.eye(n, dtype=torch.bool), 0.0, off)
    return _reduced(scale * (off**2).sum(1) / (2 * max(n - 1, 1)), reduction)


def distances(x, y, distance):
    """(n, d), (m, d) -> (n, m), for every distance that has a derivative."""
    if distance == "cosine":
        return 1 - similarities(x, y, "cosine")
    if distance in ("cityblock", "chebyshev"):
        apart = (x[:, None, :] - y[None, :, :]).abs()
        return apart.sum(-1) if distance == "cityblock" else apart.amax(-1)
    return -similarities(x, y, "neg_sqeuclidean" if distance == "sqeuclidean" else "neg_euclidean")


def paired(x, y, distance):
    """(n, d), (n, d) -> (n,), for every distance that has a derivative."""
    apart = (x - y).abs()
    if distance == "cosine":
        return 1 - (_unit(x) * _unit(y)).sum(1)
    if distance in ("cityblock", "chebyshev"):
        return apart.sum(1) if distance == "cityblock" else apart.amax(1)
    square = (apart**2).sum(1)
    if distance == "sqeuclidean":
        return square
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def largest_softmax_gradient(x, *, similarity, temperature) -> float:
    """Largest entry of the derivative of one anchor's log(sum of exp(logits)) by any embedding.

    The unit in which a gradient's rounding errors are counted where the gradient itself cancels;
    under cosine before the part along the row is taken out, which may be all of it.
    """
    length = torch.ones(len(x), 1, dtype=x.dtype)
    if similarity == "cosine":
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        length = torch.where(length > 0, length, math.inf)
        x, similarity = _unit(x), "dot"
    z = similarities(x, x, similarity).fill_diagonal_(-math.inf) / temperature
    share = torch.softmax(z, 1)[:, :, None]
    # by_other[i, j]: derivative of similarity i, j by row j; by_anchor: by row i.
    if similarity == "dot":
        by_other, by_anchor = x[:, None, :], x[None, :, :]
    else:
        by_other = 2 * (x[:, None, :] - x[None, :, :])
        if similarity == "neg_euclidean":
            distance = by_other.norm(dim=2, keepdim=True) / 2
            by_other = by_other / torch.where(distance > 0, 2 * distance, math.inf)
        by_anchor = -by_other
    others = (share * by_other).abs() / length[None, :, :]
    anchor = (share * by_anchor).sum(1).abs() / length
    # One row alone has no candidates: softmax over nothing.
    return float(torch.nan_to_num(torch.maximum(others.max(), anchor.max()))) / temperature


def _reduced(losses, reduction):
    return {"none": lambda: losses, "sum": losses.sum, "mean": losses.mean}[reduction]()


def _unit(x):
    # Scaled first, so that rows of 1e-200 have a norm; a zero row stays zero, without gradient.
    largest = x.detach().abs().amax(1, keepdim=True)
    zero = largest == 0
    scaled = torch.where(zero, 1.0, x / torch.where(zero, 1.0, largest))
    return torch.where(zero, 0.0, scaled / scaled.norm(dim=1, keepdim=True))


def _log_sum_exp(z, member):
    """Over the members of each row; minus infinity, without gradient, where there are none."""
    some = member.any(1)
    guarded = torch.where(member | ~some[:, None], z, -math.inf)
    return torch.where(some, torch.logsumexp(guarded, 1), -math.inf)


def _sharing(labels):
    """True where two rows share a label."""
    return torch.tensor([[share_label(p, q) for q in labels] for p in labels])


def _softplus(x):
    # torch's default threshold drops exp(-20), and with it the tenth digit.
    return torch.nn.functional.softplus(x, threshold=40)


def _finite(x):
    return torch.where(x.isneginf(), 0.0, x)
