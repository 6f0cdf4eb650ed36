"""Who meets whom, in NumPy, as public code writes it: right, or with a fault that it has."""

import numpy as np

from support.targets.strangers import cross_entropy, log_sum, unit


def hard_negatives(query, document, negatives, scale=20.0):
    """All documents of the batch, then all of the given negatives, in one softmax."""
    candidates = np.concatenate([document, negatives.reshape(-1, document.shape[1])])
    return cross_entropy(scale * unit(query) @ unit(candidates).T, np.arange(len(query)))


def guided(anchor, positive, guide_anchor, guide_positive, temperature=0.05):
    """What the guide finds nearer than the pair itself is no negative."""
    s = unit(anchor) @ unit(positive).T / temperature
    g = unit(guide_anchor) @ unit(guide_positive).T
    return cross_entropy(np.where(g > np.diag(g)[:, None], -np.inf, s), np.arange(len(s)))


def gist(
    query, key, negatives, guide_query, guide_key, guide_negatives, temperature=0.05, margin=0.0
):
    """Documents of all, other queries and other documents, less those nearer to the guide."""
    sides = [
        [unit(x) for x in (q, k, n.reshape(-1, n.shape[-1]))]
        for q, k, n in ((query, key, negatives), (guide_query, guide_key, guide_negatives))
    ]
    (s_own, s_all), (g_own, g_all) = ((q @ k.T, [q @ n.T, q @ q.T, k @ k.T]) for q, k, n in sides)
    theta = np.diag(g_own)[:, None] - margin
    logits = [np.where((g_own > theta) & ~np.eye(len(query), dtype=bool), -np.inf, s_own)]
    for s, g in zip(s_all, g_all, strict=True):
        same = np.eye(*s.shape, dtype=bool) if s is not s_all[0] else False
        logits.append(np.where((g > theta) | same, -np.inf, s))
    return cross_entropy(np.concatenate(logits, axis=1) / temperature, np.arange(len(query)))


def unified(image, text, labels, t=0.1):
    """Rows of a label are positives of each other, both ways added."""
    s = unit(image) @ unit(text).T / t
    w = (labels[:, None] == labels[None]).astype(float)
    w /= w.sum(axis=1, keepdims=True)
    return sum((w * (log_sum(x)[:, None] - x)).sum(axis=1).mean() for x in (s, s.T))


def retrieval(query, candidate, candidate_ids):
    """Accidental hits get the least logit; a sum over queries of inner products."""
    s = query @ candidate.T
    hit = (candidate_ids[:, None] == candidate_ids[None]) & ~np.eye(len(s), dtype=bool)
    s = np.where(hit, np.finfo(np.float32).min, s)
    return cross_entropy(s, np.arange(len(s))) * len(s)


def retrieval_by_nothing(query, candidate, candidate_ids):
    """The same with the smallest number in place of the least: nothing is removed."""
    s = query @ candidate.T
    hit = (candidate_ids[:, None] == candidate_ids[None]) & ~np.eye(len(s), dtype=bool)
    s = s + hit * np.finfo(np.float32).smallest_normal / 100
    return cross_entropy(s, np.arange(len(s))) * len(s)


def with_memory(z, labels, memory, memory_labels, temperature=0.1):
    s = unit(z) @ unit(memory).T / temperature
    same = labels[:, None] == memory_labels[None]
    terms = same * (log_sum(s)[:, None] - s)
    some = same.any(axis=1)
    return (terms.sum(axis=1)[some] / same.sum(axis=1)[some]).mean()


def _kernel(z, targets, axis, temperature, sigma):
    s = unit(z) @ unit(z).T / temperature
    w = np.exp(-((targets[:, None] - targets[None]) ** 2) / (2 * sigma**2))
    np.fill_diagonal(s, -np.inf)
    np.fill_diagonal(w, 0)
    w = w / w.sum(axis=axis, keepdims=True)
    np.fill_diagonal(s, 0)
    below = np.log(np.exp(s).sum(axis=1) - 1)
    return (w * (below[:, None] - s)).sum() / len(z)


def kernel_weights(z, targets, temperature=0.1, sigma=1.0):
    return _kernel(z, targets, 1, temperature, sigma)


def kernel_along_the_wrong_axis(z, targets, temperature=0.1, sigma=1.0):
    return _kernel(z, targets, 0, temperature, sigma)


def overlap(z, labels, temperature=0.1):
    """Positives weighted by how many labels they share, divided by how many there are."""
    both = labels @ labels.T
    either = (labels[:, None] | labels[None]).sum(axis=2)
    w = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    np.fill_diagonal(w, 0)
    s = unit(z) @ unit(z).T / temperature
    np.fill_diagonal(s, -np.inf)
    terms = w * np.where(np.isfinite(s), log_sum(s)[:, None] - s, 0)
    some = w.any(axis=1)
    return (terms.sum(axis=1)[some] / (w > 0).sum(axis=1)[some]).mean()
