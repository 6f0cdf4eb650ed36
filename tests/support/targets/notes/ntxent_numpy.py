"""NT-Xent in NumPy, from a note."""

import numpy as np


def cosine_similarity(x, y):
    return np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y))


def nt_xent(z_i, z_j, tau=0.5):
    z = np.concatenate([z_i, z_j], axis=0)
    n = len(z_i)
    total = 0
    for k in range(n):
        total += pair(z, k, k + n, tau) + pair(z, k + n, k, tau)
    return total / (2 * n)


def pair(z, i, j, tau):
    numerator = np.exp(cosine_similarity(z[i], z[j]) / tau)
    denominator = np.sum(
        [np.exp(cosine_similarity(z[i], z[k]) / tau) for k in range(len(z)) if k != i]
    )
    return -np.log(numerator / denominator)
