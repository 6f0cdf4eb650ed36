"""Losses of labels, proxies, grades and moments in PyTorch, as public code writes them."""

import math

import torch
import torch.nn.functional as F


def _relations(labels):
    same = labels[:, None] == labels[None]
    itself = torch.eye(len(labels), dtype=torch.bool)
    return same & ~itself, ~same


class MultiSimilarity(torch.nn.Module):
    """Masked log-sum-exps with a 0 for the 1, over all rows."""

    def __init__(self, alpha=2.0, beta=50.0, base=0.5):
        super().__init__()
        self.alpha, self.beta, self.base = alpha, beta, base

    def forward(self, embeddings, labels):
        z = F.normalize(embeddings)
        s = z @ z.T - self.base
        pos, neg = _relations(labels)
        return (_one_and(-self.alpha * s, pos) / self.alpha
                + _one_and(self.beta * s, neg) / self.beta).mean()  # fmt: skip


def _one_and(x, mask):
    x = x.masked_fill(~mask, -math.inf)
    return torch.cat([torch.zeros(len(x), 1, dtype=x.dtype), x], dim=1).logsumexp(1)


def mined_similarity(feats, labels, epsilon=0.1):
    """Row by row, pairs mined; rows without pairs of both kinds left out, divided by the batch."""
    z = F.normalize(feats)
    s = z @ z.T
    total = []
    for i in range(len(z)):
        same = labels == labels[i]
        same[i] = False
        pos, neg = s[i][same], s[i][labels != labels[i]]
        if not len(pos):
            continue
        hard_neg = neg[neg + epsilon > pos.min()]
        hard_pos = pos[pos - epsilon < neg.max()]
        total.append(
            torch.log(1 + torch.exp(-2.0 * (hard_pos - 0.5)).sum()) / 2.0
            + torch.log(1 + torch.exp(40.0 * (hard_neg - 0.5)).sum()) / 40.0
        )
    return torch.stack(total).sum() / len(z)


def circle(embeddings, labels, m=0.4, gamma=80.0):
    """Anchors with a loss above 0; weights are constants."""
    z = F.normalize(embeddings)
    s = z @ z.T
    pos, neg = _relations(labels)
    above = -gamma * (1 + m - s.detach()).clamp(min=0) * (s - 1 + m)
    below = gamma * (s.detach() + m).clamp(min=0) * (s - m)
    both = (above.masked_fill(~pos, -math.inf).logsumexp(1)
            + below.masked_fill(~neg, -math.inf).logsumexp(1))  # fmt: skip
    losses = F.softplus(both)
    return losses.sum() / (losses > 0).sum().clamp(min=1)


def lifted(embeddings, labels, margin=1.0):
    """Both ends' negatives of each pair, on unit rows."""
    d = torch.cdist(*[F.normalize(embeddings)] * 2, compute_mode="donot_use_mm_for_euclid_dist")
    pos, neg = _relations(labels)
    push = (margin - d).masked_fill(~neg, -math.inf)
    terms = []
    for i, j in pos.nonzero().tolist():
        terms.append(F.relu(torch.cat([push[i], push[j]]).logsumexp(0) + d[i, j]) ** 2 / 2)
    return torch.stack(terms).mean()


def smooth_ap(embeddings, labels, tau=0.01):
    z = F.normalize(embeddings)
    s = z @ z.T
    pos, _ = _relations(labels)
    found = []
    for i in range(len(z)):
        mine = pos[i].nonzero()[:, 0]
        if not len(mine):
            continue
        apart = torch.sigmoid((s[i][None] - s[i][mine][:, None]) / tau)
        apart[:, i] = 0
        apart[torch.arange(len(mine)), mine] = 0
        found.append(1 - ((1 + apart[:, mine].sum(1)) / (1 + apart.sum(1))).mean())
    return torch.stack(found).mean()


def barlow(z1, z2, lambda_param=5e-3):
    """Batch normalisation with an epsilon, a d x d matrix."""
    bn = torch.nn.BatchNorm1d(z1.shape[1], affine=False, dtype=z1.dtype)
    c = bn(z1).T @ bn(z2) / len(z1)
    on = torch.diagonal(c).add(-1).pow(2).sum()
    off = c.flatten()[:-1].view(len(c) - 1, len(c) + 1)[:, 1:].flatten().pow(2).sum()
    return on + lambda_param * off


class VICReg(torch.nn.Module):
    def __init__(self, sim_coeff=25.0, std_coeff=25.0, cov_coeff=1.0):
        super().__init__()
        self.sim, self.std, self.cov = sim_coeff, std_coeff, cov_coeff

    def forward(self, x, y):
        total = self.sim * F.mse_loss(x, y)
        for z in (x, y):
            z = z - z.mean(0)
            total = total + self.std * F.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean() / 2
            cov = z.T @ z / (len(z) - 1)
            cov = cov - torch.diag(torch.diagonal(cov))
            total = total + self.cov * cov.pow(2).sum() / z.shape[1]
        return total


def koleo(student_output):
    z = F.normalize(student_output, eps=1e-8)
    dots = z @ z.T
    dots.view(-1)[:: len(z) + 1].fill_(-1)
    nearest = z[dots.argmax(1)]
    return -torch.log((z - nearest).norm(dim=1) + 1e-8).mean()


def uniform_loss(x, t=2):
    return torch.pdist(x, p=2).pow(2).mul(-t).exp().mean().log()


def align_loss(x, y, alpha=2):
    return (x - y).norm(p=2, dim=1).pow(alpha).mean()


def cosine_softmax(x, w, labels, s=64.0, m=0.35):
    """A margin off the target's cosine, all of it times a scale."""
    cosine = F.linear(F.normalize(x), F.normalize(w))
    one_hot = F.one_hot(labels.long(), len(w))
    return F.cross_entropy(s * (cosine - m * one_hot), labels.long())


def angular(x, labels, w, scale=64.0, margin=28.6):
    """The margin in degrees; columns are classes."""
    m = math.radians(margin)
    cosine = F.normalize(x) @ F.normalize(w, dim=0)
    sine = torch.sqrt((1 - cosine**2).clamp(min=0))
    turned = torch.where(
        cosine > math.cos(math.pi - m),
        cosine * math.cos(m) - sine * math.sin(m),
        cosine - m * math.sin(math.pi - m),
    )
    target = F.one_hot(labels.long(), w.shape[1]).bool()
    return F.cross_entropy(scale * torch.where(target, turned, cosine), labels.long())


def proxy_nca(x, labels, proxies):
    d = torch.cdist(F.normalize(x), F.normalize(proxies)) ** 2
    return F.cross_entropy(-d, labels.long())


def proxy_anchor(x, labels, proxies, margin=0.1, alpha=32):
    cosine = F.normalize(x) @ F.normalize(proxies).T
    own = F.one_hot(labels.long(), len(proxies)).bool()
    pos = torch.where(own, torch.exp(-alpha * (cosine - margin)), 0).sum(0)
    neg = torch.where(own, 0, torch.exp(alpha * (cosine + margin))).sum(0)
    return torch.log(1 + pos).sum() / own.any(0).sum() + torch.log(1 + neg).sum() / len(proxies)


def soft_triple(x, labels, centres, la=20.0, gamma=0.1, margin=0.01):
    c = torch.einsum("nd,ckd->nck", F.normalize(x), F.normalize(centres, dim=-1))
    s = (F.softmax(c / gamma, dim=2) * c).sum(2)
    return F.cross_entropy(la * (s - margin * F.one_hot(labels.long(), len(centres))),
                           labels.long())  # fmt: skip


def cosent(y_pred, y_true):
    """Rows of both sides in turn; differences of pairs that are in the wrong order."""
    z = F.normalize(y_pred)
    s = (z[0::2] * z[1::2]).sum(1) * 20
    differences = s[:, None] - s[None]
    wrong = y_true[:, None] < y_true[None]
    return torch.cat([torch.zeros(1, dtype=s.dtype), differences[wrong]]).logsumexp(0)


def ranked_by_cosine(x, y, labels, scale=20.0):
    """With a large number taken off what has no part."""
    s = F.cosine_similarity(x, y) * scale
    s = s[:, None] - s[None]
    s = s - (1 - (labels[:, None] < labels[None]).to(s)) * 1e12
    return torch.cat([torch.zeros(1, dtype=s.dtype), s.flatten()]).logsumexp(0)
