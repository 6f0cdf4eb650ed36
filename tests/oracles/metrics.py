"""The measures of nearfar.metrics as plain loops read off the papers, in Python floats."""

import math

import numpy as np


def distance(u, v, metric):
    pairs = list(zip(u, v, strict=True))
    if metric == "cityblock":
        return sum(abs(a - b) for a, b in pairs)
    if metric == "chebyshev":
        return max(abs(a - b) for a, b in pairs)
    if metric == "hamming":
        return sum(a != b for a, b in pairs) / len(pairs)
    if metric == "cosine":
        lengths = math.hypot(*u) * math.hypot(*v)
        return 1.0 if lengths == 0 else 1 - sum(a * b for a, b in pairs) / lengths
    assert metric in ("euclidean", "sqeuclidean")
    return sum((a - b) ** 2 for a, b in pairs)


def neighbours(embeddings, reference, metric):
    """For each query the indices of all rows, nearest first, itself left out."""
    x = np.asarray(embeddings, dtype=float).tolist()
    rows = x if reference is None else np.asarray(reference, dtype=float).tolist()
    out = []
    for i, u in enumerate(x):
        others = [j for j in range(len(rows)) if reference is not None or j != i]
        out.append(sorted(others, key=lambda j: (distance(u, rows[j], metric), j)))
    return out


def knn_accuracy(embeddings, labels, reference=None, reference_labels=None, *, k, metric):
    row_labels = labels if reference is None else reference_labels
    right = 0
    for label, found in zip(labels, neighbours(embeddings, reference, metric), strict=True):
        votes = {}
        for j in found[:k]:
            votes[row_labels[j]] = votes.get(row_labels[j], 0) + 1
        most = max(votes.values())
        right += min(name for name, count in votes.items() if count == most) == label
    return right / len(labels)


def knn_r2(embeddings, targets, reference=None, reference_targets=None, *, k, metric):
    row_targets = targets if reference is None else reference_targets
    mean = sum(targets) / len(targets)
    residual = total = 0.0
    for y, found in zip(targets, neighbours(embeddings, reference, metric), strict=True):
        prediction = sum(row_targets[j] for j in found[:k]) / k
        residual += (y - prediction) ** 2
        total += (y - mean) ** 2
    return 1 - residual / total


def recall_at_k(embeddings, labels, reference=None, reference_labels=None, *, k, metric):
    row_labels = labels if reference is None else reference_labels
    scores = []
    for label, found in zip(labels, neighbours(embeddings, reference, metric), strict=True):
        if any(row_labels[j] == label for j in found):
            scores.append(float(any(row_labels[j] == label for j in found[:k])))
    return sum(scores) / len(scores)


def r_precision(embeddings, labels, reference=None, reference_labels=None, *, metric):
    row_labels = labels if reference is None else reference_labels
    scores = []
    for label, found in zip(labels, neighbours(embeddings, reference, metric), strict=True):
        r = sum(row_labels[j] == label for j in found)
        if r:
            scores.append(sum(row_labels[j] == label for j in found[:r]) / r)
    return sum(scores) / len(scores)


def map_at_r(embeddings, labels, reference=None, reference_labels=None, *, metric):
    row_labels = labels if reference is None else reference_labels
    scores = []
    for label, found in zip(labels, neighbours(embeddings, reference, metric), strict=True):
        r = sum(row_labels[j] == label for j in found)
        if r:
            score, right = 0.0, 0
            for i, j in enumerate(found[:r], start=1):
                if row_labels[j] == label:
                    right += 1
                    score += right / i
            scores.append(score / r)
    return sum(scores) / len(scores)


def units(embeddings):
    rows = np.asarray(embeddings, dtype=float).tolist()
    return [[a / (math.hypot(*row) or 1.0) for a in row] for row in rows]


def alignment(embeddings, labels, *, alpha):
    u = units(embeddings)
    distances = [
        math.dist(u[i], u[j]) for i in range(len(u)) for j in range(i) if labels[i] == labels[j]
    ]
    return sum(d**alpha for d in distances) / len(distances)


def alignment_of_views(a, b, *, alpha):
    distances = [math.dist(u, v) for u, v in zip(units(a), units(b), strict=True)]
    return sum(d**alpha for d in distances) / len(distances)


def uniformity(embeddings, *, t):
    u = units(embeddings)
    exponents = [-t * math.dist(u[i], u[j]) ** 2 for i in range(len(u)) for j in range(i)]
    largest = max(exponents)
    mean = sum(math.exp(x - largest) for x in exponents) / len(exponents)
    return largest + math.log(mean)


def effective_rank(embeddings):
    x = np.asarray(embeddings, dtype=float)
    # The squared singular values are the eigenvalues of x^T x.
    values = [math.sqrt(max(v, 0.0)) for v in np.linalg.eigvalsh(x.T @ x)]
    shares = [v / sum(values) for v in values]
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))
