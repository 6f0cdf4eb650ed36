"""Losses in PyTorch."""

import torch
import torch.nn.functional as F


def ntxent(a, b, temperature=0.5):
    """The usual one: a matrix, a mask, cross-entropy."""
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    s = z @ z.T / temperature
    s = s.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(s, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))


def masked_before_the_temperature(a, b, temperature=0.5):
    """Right in value and in the rows' gradients: 0 times infinity is met by the temperature."""
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    s = (z @ z.T).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf")) / temperature
    return F.cross_entropy(s, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))


class MaskedBeforeTheScale(torch.nn.Module):
    def __init__(self, logit_scale=2.0):
        super().__init__()
        self.logit_scale = logit_scale

    def forward(self, a, b):
        return masked_before_the_temperature(a, b, 1 / self.logit_scale)


class TwiceNTXent(torch.nn.Module):
    def __init__(self, temperature=0.1):
        super().__init__()
        self.temperature = temperature

    def forward(self, a, b):
        return 2 * ntxent(a, b, self.temperature)


class SizedNTXent(torch.nn.Module):
    """Its mask is made once, for one size of batch."""

    def __init__(self, batch_size, temperature):
        super().__init__()
        self.itself = torch.eye(2 * batch_size, dtype=torch.bool)
        self.target = torch.arange(2 * batch_size).roll(batch_size)
        self.temperature = temperature

    def forward(self, a, b):
        z = F.normalize(torch.cat([a, b]), dim=1)
        s = (z @ z.T / self.temperature).masked_fill(self.itself, float("-inf"))
        return F.cross_entropy(s, self.target)


def _parts(z, labels, temperature):
    z = F.normalize(z, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool)
    same = labels[:, None] == labels[None]
    return z @ z.T / temperature, same & ~itself, ~same, itself


def pairwise_supcon(z, labels, temperature=0.1):
    """Each pair's denominator holds it and the negatives; divided by the number of rows, 2n."""
    s, positive, negative, _ = _parts(z, labels, temperature)
    rest = s.masked_fill(~negative, float("-inf")).logsumexp(1, keepdim=True)
    terms = F.softplus(rest - s) * positive
    return (terms.sum(1) / positive.sum(1).clamp(min=1)).sum() / len(z)


def self_supcon(z, labels, temperature=0.1):
    """The anchor's similarity with itself is left in the denominator."""
    s, positive, _, _ = _parts(z, labels, temperature)
    terms = (s.logsumexp(1, keepdim=True) - s) * positive
    count = positive.sum(1)
    return (terms.sum(1) / count.clamp(min=1))[count > 0].mean()


def stacked_supcon(features, labels, temperature=0.5):
    """All views of a batch (B, V, d), factor temperature / 0.07, normalised by the caller."""
    views = features.shape[1]
    z, labels = torch.cat(torch.unbind(features, dim=1)), labels.repeat(views)
    itself = torch.eye(len(z), dtype=torch.bool)
    positive = (labels[:, None] == labels[None]) & ~itself
    s = z @ z.T / temperature
    terms = s.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True) - s
    return temperature / 0.07 * ((terms * positive).sum(1) / positive.sum(1)).mean()


def log_of_sums(z, labels, temperature=0.1):
    """The positives are added before the logarithm is taken."""
    s, positive, _, itself = _parts(z, labels, temperature)
    every = s.masked_fill(itself, float("-inf")).logsumexp(1)
    own = s.masked_fill(~positive, float("-inf")).logsumexp(1)
    return (every - own)[positive.any(1)].mean()


def moco(query, key, queue, temperature=0.07):
    query, key, queue = (F.normalize(x, dim=1) for x in (query, key, queue))
    own = (query * key).sum(1, keepdim=True)
    logits = torch.cat([own, query @ queue.T], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long))


def _hcl(a, b, temperature, tau_plus, beta, hard):
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    e = torch.exp(z @ z.T / temperature)
    others = ~torch.eye(n, dtype=torch.bool).repeat(2, 2)
    e = e[others].view(2 * n, -1)
    p = torch.exp((F.normalize(a, dim=1) * F.normalize(b, dim=1)).sum(1) / temperature).repeat(2)
    if not hard:
        return -torch.log(p / (p + e.sum(1))).mean()
    count = 2 * n - 2
    weights = (beta * e.log()).exp()
    reweighted = (weights * e).sum(1) / weights.mean(1)
    rest = (reweighted - tau_plus * count * p) / (1 - tau_plus)
    rest = rest.clamp(min=count * torch.e ** (-1 / temperature))
    return -torch.log(p / (p + rest)).mean()


def hcl_hard(a, b, temperature=0.5, tau_plus=0.1, beta=1.0):
    return _hcl(a, b, temperature, tau_plus, beta, hard=True)


def hcl_easy(a, b, temperature=0.5):
    return _hcl(a, b, temperature, 0, 0, hard=False)


# Breaks.


def cut(a, b, temperature=0.5):
    return ntxent(a, b.detach(), temperature)


def cut_by_numpy(a, b, temperature=0.5):
    return ntxent(*(torch.tensor(x.detach().numpy()) for x in (a, b)), temperature)


def overflows(a, b, temperature=0.5):
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    e = torch.exp(z @ z.T / temperature) * (1 - torch.eye(2 * n, dtype=a.dtype))
    p = torch.exp((z * z.roll(n, 0)).sum(1) / temperature)
    return -torch.log(p / e.sum(1)).mean()


def nan_without_positives(z, labels, temperature=0.1):
    """SupCon, the mean of nothing where no anchor has a positive."""
    s, positive, _, itself = _parts(z, labels, temperature)
    every = s.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True)
    count = positive.sum(1)
    return (((every - s) * positive).sum(1) / count.clamp(min=1))[count > 0].mean()


def cubic(z, targets, temperature=2.0):
    """SupCR with every denominator's members in one n x n x n array."""
    n = len(z)
    itself = torch.eye(n, dtype=torch.bool)
    squares = (z[:, None] - z[None]).square().sum(2)
    s = -torch.where(itself, 1.0, squares).sqrt() / temperature
    apart = (targets[:, None] - targets[None]).abs()
    inside = (apart[:, None, :] >= apart[:, :, None]) & ~itself[:, None, :]
    terms = torch.where(inside, s[:, None, :], -torch.inf).logsumexp(2) - s
    return terms.masked_fill(itself, 0).sum() / n / (n - 1)


def circle(z, labels, margin=0.25, gamma=64.0, detach=True):
    """As in the paper, with the mean over all rows."""
    s = F.normalize(z, dim=1) @ F.normalize(z, dim=1).T
    same = labels[:, None] == labels[None]
    itself = torch.eye(len(z), dtype=torch.bool)
    pull, push = (1 + margin - s).clamp(min=0), (s + margin).clamp(min=0)
    if detach:
        pull, push = pull.detach(), push.detach()
    near = (-gamma * pull * (s - 1 + margin)).masked_fill(~same | itself, float("-inf"))
    far = (gamma * push * (s - margin)).masked_fill(same, float("-inf"))
    return F.softplus(near.logsumexp(1) + far.logsumexp(1)).mean()
