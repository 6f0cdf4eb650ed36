"""The plain formulas over n x n arrays, by autograd: what people write, whose launches are the
bound."""

import torch
import torch.nn.functional as F

Temperature = float | torch.Tensor


def ntxent(a: torch.Tensor, b: torch.Tensor, t: Temperature = 0.5) -> torch.Tensor:
    z = F.normalize(torch.cat([a, b]))
    n, half = len(z), len(a)
    itself = torch.eye(n, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / t).masked_fill(itself, -float("inf"))
    return F.cross_entropy(logits, (torch.arange(n, device=z.device) + half) % n)


def clip(x: torch.Tensor, y: torch.Tensor, t: Temperature = 0.07) -> torch.Tensor:
    logits = F.normalize(x) @ F.normalize(y).T / t
    target = torch.arange(len(x), device=x.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def infonce(x: torch.Tensor, y: torch.Tensor, t: Temperature = 0.07) -> torch.Tensor:
    logits = F.normalize(x) @ F.normalize(y).T / t
    return F.cross_entropy(logits, torch.arange(len(x), device=x.device))


def siglip(x: torch.Tensor, y: torch.Tensor, t: Temperature = 0.1) -> torch.Tensor:
    logits = F.normalize(x) @ F.normalize(y).T / t - 10
    signs = 2 * torch.eye(len(x), device=x.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(x)


def hcl(a: torch.Tensor, b: torch.Tensor, t: Temperature = 0.5) -> torch.Tensor:
    """As its authors wrote it, with beta 1 and tau+ 0.1."""
    z, half = F.normalize(torch.cat([a, b])), len(a)
    n = len(z)
    pairs = torch.exp((F.normalize(a) * F.normalize(b)).sum(1) / t)
    positive = torch.cat([pairs, pairs])
    partner = torch.eye(half, dtype=torch.bool, device=z.device)
    mask = torch.cat([torch.cat([partner, partner], 1)] * 2)
    e = torch.exp(z @ z.T / t).masked_fill(mask, 0)
    weights = torch.exp(torch.log(e + 1e-30))
    reweighted = (weights * e).sum(1) / (weights.sum(1) / (n - 2))
    negative = (-0.1 * (n - 2) * positive + reweighted) / 0.9
    negative = torch.clamp(negative, min=(n - 2) * 0.1353)
    return -torch.log(positive / (positive + negative)).mean()
