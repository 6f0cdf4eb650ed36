"""Twenty small losses in as many hands, right ones and wrong ones; their names are in the test.

Written from their definitions, without a look at what the search holds.
"""

import numpy as np
import torch
import torch.nn.functional as F


def simclr(zi, zj, tau=0.1):
    reps = F.normalize(torch.vstack((zi, zj)), p=2, dim=-1)
    sims = reps.mm(reps.t())
    sims.fill_diagonal_(-9e15)
    sims = sims / tau
    n = zi.size(0)
    target = torch.hstack((torch.arange(n) + n, torch.arange(n)))
    return F.cross_entropy(sims, target, reduction="mean")


def nce_sum(q, k):
    total = 0.0
    kn = [v / (v @ v) ** 0.5 for v in k]
    for r, u in enumerate(v / (v @ v) ** 0.5 for v in q):
        weights = [np.exp((u @ w) / 0.2) for w in kn]
        total += -np.log(weights[r] / sum(weights))
    return total


class OneWayClip(torch.nn.Module):
    def forward(self, image, text):
        image = image / image.norm(dim=1, keepdim=True)
        text = text / text.norm(dim=1, keepdim=True)
        per_image = torch.tensor(2.0, dtype=image.dtype).exp() * image @ text.t()
        return F.cross_entropy(per_image, torch.arange(len(image)))


def align_and_spread(x, y):
    x, y = F.normalize(x), F.normalize(y)
    spread = torch.pdist(x).pow(2).mul(-2).exp().mean().log()
    return (x - y).norm(dim=1).pow(2).mean() + spread


def barlow(a, b, lam=5e-3):
    a = (a - a.mean(0)) / a.std(0)
    b = (b - b.mean(0)) / b.std(0)
    c = a.T @ b / len(a)
    on = ((np.diag(c) - 1) ** 2).sum()
    return on + lam * ((c**2).sum() - (np.diag(c) ** 2).sum())


def facenet(a, p, n, alpha=0.2):
    a, p, n = (v / np.sqrt((v**2).sum(1))[:, None] for v in (a, p, n))
    return np.mean([max(0, ((x - y) ** 2).sum() - ((x - z) ** 2).sum() + alpha)
                    for x, y, z in zip(a, p, n, strict=True)])  # fmt: skip


def npair(anchor, positive, weight=0.25):
    logits = anchor @ positive.T
    stable = logits - logits.max(1, keepdims=True)
    shares = stable - np.log(np.exp(stable).sum(1, keepdims=True))
    return -np.diag(shares).mean() + weight * ((anchor**2).sum(1) + (positive**2).sum(1)).mean()


def supcon_with_itself(embeddings, labels):
    embeddings = F.normalize(embeddings, dim=-1)
    logits = embeddings @ embeddings.T / 0.5
    same = labels.view(-1, 1).eq(labels).to(logits.dtype)
    return -((F.log_softmax(logits, dim=1) * same).sum(1) / same.sum(1)).mean()


def lifted(x, y, margin=1.0):
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    terms = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if y[i] == y[j]:
                far = (
                    np.exp(margin - d[i][y != y[i]]).sum() + np.exp(margin - d[j][y != y[j]]).sum()
                )
                terms.append(max(0, np.log(far) + d[i, j]) ** 2)
    return np.sum(terms) / (2 * len(terms))


def multi_similarity(x, labels, alpha=2.0, beta=50.0, base=0.5):
    x = F.normalize(x, dim=1)
    s = x @ x.T
    same = labels[:, None] == labels[None]
    eye = torch.eye(len(x), dtype=torch.bool)
    p = torch.where(same & ~eye, torch.exp(-alpha * (s - base)), 0.0).sum(1)
    n = torch.where(~same, torch.exp(beta * (s - base)), 0.0).sum(1)
    return (torch.log1p(p) / alpha + torch.log1p(n) / beta).mean()


def hadsell_upside_down(x, y, margin=1.0):
    total, count = 0.0, 0
    for i in range(len(x)):
        for j in range(i):
            d = np.linalg.norm(x[i] - x[j])
            label = float(y[i] == y[j])
            total += (1 - label) * d**2 / 2 + label * max(0.0, margin - d) ** 2 / 2
            count += 1
    return total / count


def circle(x, labels, m=0.25, gamma=8.0):
    x = F.normalize(x, dim=1)
    s = x @ x.T
    same = (labels[:, None] == labels[None]).triu(diagonal=1)
    diff = (labels[:, None] != labels[None]).triu(diagonal=1)
    sp, sn = s[same], s[diff]
    ap, an = torch.relu(1 + m - sp.detach()), torch.relu(sn.detach() + m)
    lp, ln = -ap * (sp - 1 + m) * gamma, an * (sn - m) * gamma
    return F.softplus(torch.logsumexp(ln, 0) + torch.logsumexp(lp, 0))


def nca(x, y):
    d2 = ((x[:, None] - x[None]) ** 2).sum(-1)
    w = np.exp(-d2)
    np.fill_diagonal(w, 0)
    p = w / w.sum(1, keepdims=True)
    own = (p * (y[:, None] == y[None])).sum(1)
    own = own[own > 0]
    return -np.log(own).mean()


def nca_as_printed(x, y):
    d2 = ((x[:, None] - x[None]) ** 2).sum(-1)
    w = np.exp(-d2)
    np.fill_diagonal(w, 0)
    p = w / w.sum(1, keepdims=True)
    return -(p * (y[:, None] == y[None])).sum()


def soft_hard(emb, pids):
    d = torch.cdist(emb, emb)
    same = pids[:, None] == pids[None]
    hardest = torch.where(same, d, 0.0).amax(1)
    nearest = torch.where(same, torch.inf, d).amin(1)
    return F.softplus(hardest - nearest).mean()


def sigmoid_mean(img, txt, t=10.0, b=-10.0):
    img, txt = F.normalize(img, dim=-1), F.normalize(txt, dim=-1)
    logits = img @ txt.T * t + b
    return F.binary_cross_entropy_with_logits(logits, torch.eye(len(img), dtype=logits.dtype))


def tempered_twice(z1, z2, temperature=0.5):
    z = np.vstack([z1, z2])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = z @ z.T / temperature / temperature
    n, out = len(z1), 0
    for i in range(2 * n):
        rest = np.delete(s[i], i)
        out += np.log(np.exp(rest).sum()) - s[i, (i + n) % (2 * n)]
    return out / (2 * n)


def vicreg(x, y):
    def spread(z):
        z = z - z.mean(0)
        c = z.T @ z / (len(z) - 1)
        off = c - torch.diag(torch.diag(c))
        return torch.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() + off.pow(2).sum() / z.shape[1]

    return 25 * F.mse_loss(x, y) + 25 * (spread(x) + spread(y))


def centres(x, y):
    return np.mean([((v - x[y == c].mean(0)) ** 2).sum() for v, c in zip(x, y, strict=True)]) / 2


def attracted_to_far(q, k, tau=0.5):
    d = np.sqrt(((q[:, None] - k[None]) ** 2).sum(-1)) / tau
    return np.mean(np.log(np.exp(d).sum(1)) - np.diag(d))
