"""In PyTorch."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize, softplus


def ntxent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    z = normalize(torch.cat([a, b]))
    n = len(z)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    return cross_entropy(logits, (torch.arange(n) + n // 2) % n)


def supcon(x: Tensor, labels: Tensor, temperature: float) -> Tensor:
    z = normalize(x)
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    positives = (labels[:, None] == labels[None, :]) & ~itself
    log_prob = logits - torch.logsumexp(logits.masked_fill(itself, -torch.inf), 1, keepdim=True)
    count = positives.sum(1)
    per_anchor = torch.where(positives, log_prob, 0).sum(1) / count.clamp(min=1)
    return -per_anchor.sum() / (count > 0).sum()


def own_positive(x: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """SupCon with a denominator of one positive and the negatives."""
    z = normalize(x)
    logits = z @ z.T / temperature
    same = labels[:, None] == labels[None, :]
    positives = same & ~torch.eye(len(z), dtype=torch.bool)
    negatives = torch.logsumexp(logits.masked_fill(same, -torch.inf), 1, keepdim=True)
    count = positives.sum(1)
    log_prob = logsigmoid(logits - negatives)
    per_anchor = torch.where(positives, log_prob, 0).sum(1) / count.clamp(min=1)
    return -per_anchor.sum() / (count > 0).sum()


def hcl(a: Tensor, b: Tensor, temperature: float, tau_plus: float, beta: float) -> Tensor:
    z = normalize(torch.cat([a, b]))
    n = len(z)
    logits = z @ z.T / temperature
    partner = logits[torch.arange(n), (torch.arange(n) + n // 2) % n]
    strangers = torch.eye(n, dtype=torch.bool) | torch.eye(n, dtype=torch.bool).roll(n // 2, 1)
    negatives = logits.masked_fill(strangers, -torch.inf)
    weighted = torch.logsumexp((1 + beta) * negatives, 1) - torch.logsumexp(beta * negatives, 1)
    mass = (n - 2) * (weighted.exp() - tau_plus * partner.exp()) / (1 - tau_plus)
    mass = mass.clamp(min=(n - 2) * torch.e ** (-1 / temperature))
    return softplus(mass.log() - partner).mean()


def clip(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    logits = normalize(x) @ normalize(y).T / temperature
    target = torch.arange(len(x))
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def infonce(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    logits = normalize(x) @ normalize(y).T / temperature
    return cross_entropy(logits, torch.arange(len(x)))


def siglip(x: Tensor, y: Tensor, temperature: float, bias: float) -> Tensor:
    logits = normalize(x) @ normalize(y).T / temperature + bias
    return (softplus(logits).sum() - logits.diagonal().sum()) / len(x)


def batch_hard(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    distances = torch.cdist(x, x)
    same = labels[:, None] == labels[None, :]
    farthest = distances.masked_fill(~same, -torch.inf).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    return (farthest - nearest + margin).clamp(min=0).mean()


def batch_all(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Every pair of positives beside all rows: the mean over triplets with a loss above 0."""
    distances = torch.cdist(x, x)
    same = labels[:, None] == labels[None, :]
    anchors, positives = (same & ~torch.eye(len(x), dtype=torch.bool)).nonzero(as_tuple=True)
    each = distances[anchors, positives][:, None] - distances[anchors] + margin
    each = each.clamp(min=0).masked_fill(same[anchors], 0)
    return each.sum() / (each > 0).sum().clamp(min=1)


def supcr(x: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Every row sorted by distance of targets, and one cumulative log-sum-exp from its far end."""
    n = len(x)
    others = ~torch.eye(n, dtype=torch.bool)
    logits = (-torch.cdist(x, x) / temperature)[others].view(n, n - 1)
    apart = (targets[:, None] - targets[None, :]).abs()[others].view(n, n - 1)
    apart, order = apart.sort(1)
    logits = logits.gather(1, order)
    from_here = logits.flip(1).logcumsumexp(1).flip(1)
    return (from_here.gather(1, torch.searchsorted(apart, apart)) - logits).mean()
