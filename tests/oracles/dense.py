"""The same losses as dense formulas in torch float64: every derivative by autograd.

Naive on purpose: n x n scores, n x n x d differences. `test_dense.py` holds them to the loops.
"""

import math

import torch

from oracles.supcon import share_label


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
    scale=1.0,
    reduction="mean",
):
    """Scalar, or (n,) with `reduction="none"`."""
    n = len(embeddings)
    z = similarities(embeddings, embeddings, similarity) / temperature
    eye = torch.eye(n, dtype=torch.bool)
    same = torch.tensor([[share_label(p, q) for q in labels] for p in labels]) & ~eye
    own = eye & include_self
    if denominator == "all":
        term = _log_sum_exp(z, ~eye | own)[:, None] - z
    else:
        against = _log_sum_exp(z, (~same & ~eye) | own)[:, None]
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
        return losses
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
    reduction="mean",
):
    """Scalar, or (N,) with `reduction="none"`."""
    n = len(query)
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
    return {"none": lambda: losses, "sum": losses.sum, "mean": losses.mean}[reduction]()


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


def _softplus(x):
    # torch's default threshold drops exp(-20), and with it the tenth digit.
    return torch.nn.functional.softplus(x, threshold=40)


def _finite(x):
    return torch.where(x.isneginf(), 0.0, x)
