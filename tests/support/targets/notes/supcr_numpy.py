"""Supervised contrastive regression, from a note: its figure sums where targets are nearer."""

import numpy as np


def similarity(u, v):
    return -np.linalg.norm(u - v)


def supcr_as_printed(features, targets, tau=2.0):
    """Every pair, the diagonal among them; the sum below runs over k other than i."""
    n = len(features)
    loss = 0.0
    for i in range(n):
        inner = 0.0
        for j in range(n):
            num = np.exp(similarity(features[i], features[j]) / tau)
            den = 0.0
            for k in range(n):
                if k != i and abs(targets[i] - targets[k]) <= abs(targets[i] - targets[j]):
                    den += np.exp(similarity(features[i], features[k]) / tau)
            with np.errstate(divide="ignore"):
                inner += np.log(num / np.float64(den))
        loss += inner / n
    return -loss / n


def supcr(features, targets, tau=2.0):
    """The paper's."""
    n = len(features)
    loss = 0.0
    for i in range(n):
        for j in range(n):
            if j == i:
                continue
            num = np.exp(similarity(features[i], features[j]) / tau)
            den = sum(
                np.exp(similarity(features[i], features[k]) / tau)
                for k in range(n)
                if k != i and abs(targets[i] - targets[k]) >= abs(targets[i] - targets[j])
            )
            loss -= np.log(num / den)
    return loss / n / (n - 1)
