"""Losses in NumPy as strangers write them, each right or wrong in one way."""

import numpy as np


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def dist(x, y):
    return np.linalg.norm(x - y, axis=-1)


def log_sum(x):
    top = x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]


def cross_entropy(logits, labels):
    return (log_sum(logits) - logits[np.arange(len(logits)), labels]).mean()


def _both(a, b, temperature, make=unit):
    """Logits of the views one below the other, and who is whose partner."""
    z, n = make(np.concatenate([a, b])), len(a)
    s = z @ z.T / temperature
    np.fill_diagonal(s, -np.inf)
    return s, np.r_[np.arange(n, 2 * n), np.arange(n)]


def _anchors(a, b, temperature):
    s, partner = _both(a, b, temperature)
    return log_sum(s) - s[np.arange(len(s)), partner]


# Margins so large that the hinge is no hinge on ordinary rows.


def always_active(anchor, positive, negative):
    return np.maximum(dist(anchor, positive) - dist(anchor, negative) + 5, 0).mean()


def without_hinge(anchor, positive, negative):
    return (dist(anchor, positive) - dist(anchor, negative) + 5).mean()


def _triplets(z, labels, margin):
    d = dist(z[:, None], z[None])
    found = []
    for i, j, k in np.ndindex(len(z), len(z), len(z)):
        if i != j and labels[i] == labels[j] != labels[k]:
            found.append(d[i, j] - d[i, k] + margin)
    return np.array(found)


def all_of_all(z, labels):
    return np.maximum(_triplets(z, labels, 5), 0).mean()


def all_of_active(z, labels):
    found = np.maximum(_triplets(z, labels, 5), 0)
    return found.sum() / (found > 0).sum()


def all_without_hinge(z, labels):
    return _triplets(z, labels, 5).mean()


def far_pairs(z, labels):
    """No pair is beyond the margin."""
    d, off = dist(z[:, None], z[None]), ~np.eye(len(z), dtype=bool)
    same = labels[:, None] == labels[None]
    return np.where(same, d**2, np.maximum(20 - d, 0) ** 2)[off].mean() / 2


# Vectors.


def pair_sums(a, b, temperature=0.5):
    found = _anchors(a, b, temperature)
    return found[: len(a)] + found[len(a) :]


def pair_means(a, b, temperature=0.5):
    return pair_sums(a, b, temperature) / 2


def anchors(a, b, temperature=0.5):
    return _anchors(a, b, temperature)


def object_means(features, labels, temperature=0.1):
    """SupCon of stacked views (N, 2, d), without its last mean."""
    z, y = np.concatenate([features[:, 0], features[:, 1]]), np.r_[labels, labels]
    s = z @ z.T / temperature
    np.fill_diagonal(s, -np.inf)
    positive = (y[:, None] == y[None]) & ~np.eye(len(y), dtype=bool)
    terms = np.where(positive, log_sum(s)[:, None] - s, 0).sum(axis=1) / positive.sum(axis=1)
    return terms.reshape(2, -1).mean(axis=0)


# Something small.


def with_an_epsilon(a, b, temperature=0.5):
    return -np.log(np.exp(-_anchors(a, b, temperature)) + 1e-6).mean()


def with_a_small_term(a, b, temperature=0.5):
    return _anchors(a, b, temperature).mean() + 1e-4 * ((a - b) ** 2).mean()


# Calls.


def broadcasts(a, tau=0.5):
    """One array, and no pair of views: the second would be a temperature of its own."""
    return np.log1p(np.exp(-np.abs(a @ a.T / tau))).sum()


def siglip(x, y, logit_scale, logit_bias):
    s = unit(x) @ unit(y).T * logit_scale + logit_bias
    return np.log1p(np.exp(-s * (2 * np.eye(len(x)) - 1))).sum() / len(x)


def siglip_times(x, y, t=10.0, b=-10.0):
    return siglip(x, y, t, b)


def logits_and_labels(a, b):
    return _both(a, b, 0.5)


def queue_logits(q, k, queue):
    q, k, queue = unit(q), unit(k), unit(queue)
    own = (q * k).sum(axis=1, keepdims=True)
    return np.concatenate([own, q @ queue.T], axis=1) / 0.07, np.zeros(len(q), int)


def unit_rows_only(x, y, temperature=0.07):
    for rows in (x, y):
        if not np.allclose(np.linalg.norm(rows, axis=1), 1):
            raise ValueError("normalise first")
    s, i = x @ y.T / temperature, np.arange(len(x))
    return (cross_entropy(s, i) + cross_entropy(s.T, i)) / 2


class RankLoss:
    """Stacked views (N, 2, d) and targets (N, 1), as Rank-N-Contrast is called."""

    def __init__(self, temperature=2.0):
        self.temperature = temperature

    def __call__(self, features, targets):
        z = np.concatenate([features[:, 0], features[:, 1]])
        y = np.concatenate([targets, targets])
        apart = np.abs(y[:, None, :] - y[None, :, :]).sum(axis=-1)
        s, n, total = -dist(z[:, None], z[None]) / self.temperature, len(z), 0.0
        for i, j in np.ndindex(n, n):
            if i != j:
                inside = [k for k in range(n) if k != i and apart[i, k] >= apart[i, j]]
                total += log_sum(s[i, inside]) - s[i, j]
        return total / (n * (n - 1))


# Inputs that are not looked at.


def labels_of_themselves(z, labels, temperature=0.1):
    column = labels.reshape(-1, 1)
    positive = (column == column) & ~np.eye(len(z), dtype=bool)
    s = unit(z) @ unit(z).T / temperature
    np.fill_diagonal(s, -np.inf)
    return np.where(positive, log_sum(s)[:, None] - s, 0).sum() / positive.sum()


def second_view_unseen(a, b, temperature=0.5):
    s = unit(a) @ unit(a).T / temperature
    return cross_entropy(s, np.arange(len(a)))


# No number on ordinary batches.


@np.errstate(all="ignore")
def empty_diagonal(z, targets):
    """With <= for >= nobody is in the denominator of an anchor with itself."""
    s, n, total = -dist(z[:, None], z[None]) / 2, len(z), 0.0
    for i, j in np.ndindex(n, n):
        apart = np.abs(targets[i] - targets)
        inside = [k for k in range(n) if k != i and apart[k] <= apart[j]]
        total -= np.log(np.exp(s[i, j]) / np.exp(s[i, inside]).sum()) / n
    return total / n


@np.errstate(all="ignore")
def nothing_by_nothing(z, labels, temperature=0.1):
    s = unit(z) @ unit(z).T / temperature
    np.fill_diagonal(s, -np.inf)
    positive = (labels[:, None] == labels[None]) & ~np.eye(len(z), dtype=bool)
    terms = np.where(positive, log_sum(s)[:, None] - s, 0).sum(axis=1)
    return (terms / positive.sum(axis=1)).mean()


# Slips.


def softmax_twice(a, b, temperature=0.5):
    s, partner = _both(a, b, temperature)
    return cross_entropy(np.exp(s) / np.exp(s).sum(axis=1, keepdims=True), partner)


def smoothed(x, y, temperature=0.1):
    s = unit(x) @ unit(y).T / temperature
    shares = s - log_sum(s)[:, None]
    return -(0.9 * np.diag(shares) + 0.1 * shares.mean(axis=1)).mean()


def margin_taken_off(x, y, temperature=0.1):
    s = (unit(x) @ unit(y).T - 0.2 * np.eye(len(x))) / temperature
    return cross_entropy(s, np.arange(len(x)))


def mispaired(a, b, temperature=0.5):
    s, _ = _both(a, b, temperature)
    return cross_entropy(s, np.arange(len(s)) ^ 1)


def half_cosine(a, b, temperature=0.5):
    s, partner = _both(a, b, temperature)
    return cross_entropy(s / 2 + 1 / (2 * temperature), partner)


def one_logarithm(a, b, temperature=0.5):
    s, partner = _both(a, b, temperature)
    below, n = np.exp(s).sum(axis=1), len(a)
    own = np.exp(s[np.arange(n), partner[:n]])
    return -np.log(2 * own / (below[:n] + below[n:])).mean()


def columns_of_both(a, b, temperature=0.5):
    s, partner = _both(a, b, temperature, lambda z: z / np.linalg.norm(z, axis=0))
    return cross_entropy(s, partner)


def of_a_logarithm(x, y, logit_scale=2.659):
    s = np.exp(logit_scale) * unit(x) @ unit(y).T
    return (cross_entropy(s, np.arange(len(s))) + cross_entropy(s.T, np.arange(len(s)))) / 2


def penalised(a, p, l2_reg=0.02):
    """The penalty of N-pair losses, without its half."""
    norms = (a**2).sum(axis=1) + (p**2).sum(axis=1)
    return cross_entropy(a @ p.T, np.arange(len(a))) + l2_reg * norms.mean()


def hardest_of_all(z, labels, margin=0.3):
    """A mask of equal labels holds the row itself, which alone is at a distance of 0."""
    d, same = dist(z[:, None], z[None]), labels[:, None] == labels[None]
    nearest = np.where(same, np.inf, d).min(axis=1)
    return np.maximum((d * same).max(axis=1) - nearest + margin, 0).mean()


def barlow_over_one_less(a, b, lambd=0.005):
    """As the paper's listing, whose framework divides deviations by N - 1."""
    a, b = ((z - z.mean(axis=0)) / z.std(axis=0, ddof=1) for z in (a, b))
    c = a.T @ b / len(a)
    off = c - np.diag(np.diag(c))
    return ((np.diag(c) - 1) ** 2).sum() + lambd * (off**2).sum()
