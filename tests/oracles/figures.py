"""Published figures: one input, many implementations, the value each of them gives.

Inputs and numbers are those of the convention tables of the project's notes; each line says how a
loss with its fields states that implementation.
"""

from typing import NamedTuple

import numpy as np


def _unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


_rng = np.random.default_rng(0)
_base = _rng.normal(size=(8, 16))
A = _unit(_base + 0.6 * _rng.normal(size=(8, 16)))
B = _unit(_base + 0.6 * _rng.normal(size=(8, 16)))
LABELS = [0, 0, 0, 0, 1, 1, 2, 2, 2, 3]
_noise = _rng.normal(size=(10, 16))
_centre = _rng.normal(size=(4, 16))
X = _unit(_noise + 1.2 * _centre[LABELS])

# What implementations add to the other view's rows: the rest of the own view, or exp(0).
_OTHERS_B = np.array([np.delete(B, i, 0) for i in range(8)])
_OTHERS_A = np.array([np.delete(A, i, 0) for i in range(8)])
_BOTH_VIEWS = np.concatenate([_OTHERS_B, _OTHERS_A], 1)
_PLUS_ONE = np.concatenate([_OTHERS_B, np.zeros((8, 1, 16))], 1)

OPTAX = np.array([[-1.9540, 1.0780], [0.2380, -0.5703], [1.8745, -0.0195], [-0.6719, -1.9210]])
OPTAX_ZERO = np.concatenate([np.zeros((1, 2)), OPTAX[1:]])

NOTE = np.array(
    [[1, 2, 3], [1.2, 2.2, 3.3], [1.3, 2.3, 4.3], [1.5, 2.6, 3.9], [5.1, 2.1, 3.4]], dtype=float
)
NOTE_LABELS = [1, 0, 1, 0, 1]

# The example of the note on SupCR: every row is its own target.
RANKED = np.array([[1, 3, 4], [2, 3, 7], [4, 0, -4], [5, 0, 1]])

# The sums that the notes give for the inputs, to be checked before any value is.
CHECK_SUMS = [
    (A.sum(), 0.87623757),
    (B.sum(), -0.34756995),
    (X.sum(), -1.86233542),
    (A[0, 0], -0.05194441),
    (A[0, 1], -0.18086239),
    (A[0, 2], 0.00352615),
    (X[9, 0], -0.01192386),
    (X[9, 1], -0.010775),
    (X[9, 2], 0.28465733),
]


class Figure(NamedTuple):
    who: str
    loss: str
    inputs: tuple
    fields: dict
    value: float
    digits: int = 6

    def within(self) -> float:
        """Half a unit of the last printed digit, and a little for rounding."""
        return 0.51 * 10.0**-self.digits


def _views(who, loss, inputs, fields, at_half, at_tenth):
    """One line of the table of views: temperatures 0.5 and 0.1; fields may depend on them."""
    for temperature, value in ((0.5, at_half), (0.1, at_tenth)):
        stated = {"temperature": temperature, **fields(temperature)}
        yield Figure(f"{who}, {temperature}", loss, inputs, stated, value)


def _supcon(who, value, **fields):
    return Figure(who, "SupCon", (X, LABELS), {"temperature": 0.1, **fields}, value)


def _optax(who, embeddings, labels, value, digits, **fields):
    stated = {"temperature": 0.07, "denominator": "own_positive", "average": "pairs", **fields}
    return Figure(f"optax {who}", "SupCon", (embeddings, labels), stated, value, digits)


def _ranked(order, value):
    stated = {"temperature": 0.5, "similarity": "dot", "order": order}
    return Figure(f"note, {order}", "SupCR", (RANKED, RANKED.tolist()), stated, value, 8)


FIGURES = [
    *_views("NT-Xent of the paper", "NTXent", (A, B), lambda t: {}, 1.574748, 0.163715),
    *_views("google simclr", "NTXent", (A, B), lambda t: {"scale": 2.0}, 3.149496, 0.327431),
    *_views(
        "SupContrast, base temperature 0.07",
        *("NTXent", (A, B), lambda t: {"scale": t / 0.07}),
        *(11.248200, 0.233879),
    ),
    *_views("google supcon", "NTXent", (A, B), lambda t: {"scale": t}, 0.787374, 0.016372),
    *_views("info-nce-pytorch", "InfoNCE", (A, B), lambda t: {}, 1.085415, 0.121157),
    *_views(
        "sentence-transformers, two directions",
        *("InfoNCE", (A, B, _BOTH_VIEWS), lambda t: {}),
        *(1.562332, 0.166940),
    ),
    *_views(
        "quaterion, (cos + 1) / 2",
        *("InfoNCE", (A, B), lambda t: {"temperature": 2 * t}),
        *(1.519510, 0.401730),
    ),
    *_views(
        "TF-Sim, one more in the sum",
        *("InfoNCE", (A, B, _PLUS_ONE), lambda t: {}),
        *(1.163515, 0.121949),
    ),
    *_views(
        "lightly DCL",
        *("NTXent", (A, B), lambda t: {"denominator": "negatives"}),
        *(1.334743, -2.352410),
    ),
    *_views("lightly DCL, by its name", "DCL", (A, B), lambda t: {}, 1.334743, -2.352410),
    *_views("debiased", "HCL", (A, B), lambda t: {"beta": 0.0}, 1.291334, 0.000001),
    *_views("HCL", "HCL", (A, B), lambda t: {}, 1.535720, 0.138230),
    *_views("HCL, not debiased", "HCL", (A, B), lambda t: {"tau_plus": 0.0}, 1.748409, 0.519135),
    *_views("open_clip", "CLIP", (A, B), lambda t: {}, 1.087210, 0.110164),
    *_views("moco-v3", "CLIP", (A, B), lambda t: {"scale": 4 * t}, 2.174421, 0.044065),
    Figure("low temperature", "NTXent", (A, B), {"temperature": 0.05}, 0.0240881, 7),
    Figure("lower temperature", "NTXent", (A, B), {"temperature": 0.02}, 0.00046809, 8),
    _supcon("L_out, singleton counted as 0", 0.944315, without_positives="zero"),
    _supcon("L_out, anchors with positives", 1.049239),
    _supcon("L_out, pairs", 1.220222, average="pairs"),
    _supcon("SupContrast", 1.349021, without_positives="zero", scale=0.1 / 0.07),
    _supcon("L_in", 0.782782, positives="log_mean"),
    _supcon("log of the sum, solo", 0.063461, positives="log_sum"),
    _supcon("PML NTXentLoss", 0.158960, denominator="own_positive", average="pairs"),
    _supcon("own positive, anchors", 0.141012, denominator="own_positive"),
    _supcon("negatives", -2.834014, denominator="negatives"),
    _supcon(
        "PML NCA", 0.699942, similarity="neg_sqeuclidean", positives="log_sum", temperature=1.0
    ),
    _optax("0011", OPTAX, [0, 0, 1, 1], 14.01032, 5),
    _optax("0001", OPTAX, [0, 0, 0, 1], 8.968544, 6),
    _optax("0001, all", OPTAX, [0, 0, 0, 1], 10.67210, 5, denominator="all"),
    _optax("zero row", OPTAX_ZERO, [0, 0, 1, 1], 9.2889, 4),
    Figure(
        "note, mean over pairs",
        *("SupCon", (NOTE, NOTE_LABELS)),
        {"temperature": 0.5, "denominator": "own_positive", "average": "pairs"},
        *(1.2276, 4),
    ),
    Figure(
        "note, sum over pairs / 2n",
        *("SupCon", (NOTE, NOTE_LABELS)),
        {
            "temperature": 0.5,
            "denominator": "own_positive",
            "positives": "sum_log",
            "without_positives": "zero",
            "scale": 0.5,
        },
        *(0.9821, 4),
    ),
    *(
        Figure(f"PML triplet, {margin}", "BatchTriplet", (X, LABELS), {"margin": margin}, value)
        for margin, value in ((0.05, 0.075079), (0.2, 0.100459), (1.0, 0.450592), (5.0, 4.450592))
    ),
    *(
        Figure(
            f"PML triplet, MeanReducer, {margin}",
            *("BatchTriplet", (X, LABELS)),
            *({"margin": margin, "count": "all"}, value),
        )
        for margin, value in ((0.05, 0.001155), (0.2, 0.004637), (1.0, 0.450592), (5.0, 4.450592))
    ),
    Figure(
        "batch-hard, anchors with a positive",
        *("BatchTriplet", (X, LABELS)),
        *({"margin": 5.0, "mining": "hard"}, 4.760361),
    ),
    Figure("siamese-triplet", "PairMargin", (X, LABELS), {"margin": 1.0}, 0.091831),
    Figure("TFA contrastive, no 1/2", "PairMargin", (X, LABELS), {"scale": 2.0}, 0.183663),
    _ranked("farther", 1.51057736),
    _ranked("nearer", 38.84391075),
]
