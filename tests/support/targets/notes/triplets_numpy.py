"""The triplet loss with several distances, from a note."""

import numpy as np


def euclidean_distance(x, y):
    return np.sqrt(np.sum(np.square(x - y), axis=1))


def squared_distance(x, y):
    return np.sum(np.square(x - y), axis=1)


def manhattan_distance(x, y):
    return np.sum(np.abs(x - y), axis=1)


def cosine_distance(x, y):
    dots = np.sum(x * y, axis=1)
    return 1 - dots / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))


def _triplet(distance, anchor, positive, negative, margin):
    return np.mean(np.maximum(0, distance(anchor, positive) - distance(anchor, negative) + margin))


def euclidean_triplet(anchor, positive, negative, margin=1.0):
    return _triplet(euclidean_distance, anchor, positive, negative, margin)


def squared_triplet(anchor, positive, negative, margin=0.2):
    return _triplet(squared_distance, anchor, positive, negative, margin)


def manhattan_triplet(anchor, positive, negative, margin=1.0):
    return _triplet(manhattan_distance, anchor, positive, negative, margin)


def cosine_triplet(anchor, positive, negative, margin=0.5):
    return _triplet(cosine_distance, anchor, positive, negative, margin)
