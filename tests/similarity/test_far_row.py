"""One row far from all others, or very near ones among usual ones, under Euclidean distances."""

import numpy as np
from support.agreement import truth
from support.backends import FRAMEWORKS
from support.cases import LOSSES as REGISTERED
from support.covering import sampled

import nearfar as nf

LOSSES = {
    "SupCon": {"similarity": "neg_euclidean", "temperature": 1.0},
    "NTXent": {"similarity": "neg_euclidean"},
    "CLIP": {"similarity": "neg_euclidean", "temperature": 0.5},
    "InfoNCE": {"similarity": "neg_euclidean", "temperature": 0.5},
    "SupCR": {},
    "BatchTriplet": {},
    "PairMargin": {"margin": 30.0},
    "Triplet": {"distance": "euclidean", "margin": 5.0},
}


def batch(name, far, d):
    rng = np.random.default_rng(12)
    x, y, z = rng.normal(size=(3, 8, d)) * 4
    y, z = x + y / 8, x + z / 8
    if name == "SupCR":
        # The far row's target is beyond all others, so that nobody is compared with it alone.
        x[7] *= far
        return [x], [np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 30.0])]
    x[7] *= far
    if REGISTERED[name].dense and name in ("SupCon", "BatchTriplet", "PairMargin"):
        return [x], [np.array([0, 0, 1, 1, 2, 2, 2, 3])]
    y[7] = x[7]
    z[7] = x[7]
    return [x, y, z] if name == "Triplet" else [x, y], []


@sampled(
    "name, far, d, framework",
    LOSSES,
    [1e9, 1e15, 1e19, 1e21, 1e23, 1e30],
    [1, 3, 20],
    FRAMEWORKS.values(),
)
def test_the_other_rows_keep_their_digits(framework, name, far, d):
    inputs, labels = batch(name, far, d)
    arrays = [framework.asarray(x, "float32") for x in inputs]
    rounded = [framework.read(x) for x in arrays]
    fields = {**LOSSES[name], "reduction": "none"}
    each = framework.read(getattr(nf, name)(**fields)(*arrays, *map(framework.labels, labels)))
    want = truth(name, rounded, *labels, **fields, upstream=np.ones(len(each))).value
    others = np.arange(len(each)) % 8 != 7
    if name == "PairMargin":
        # Pairs with the far row are beyond the margin, and weigh nothing.
        others = others & (want < 1e9)
    np.testing.assert_allclose(each[others], want[others], rtol=2e-5, atol=2e-5)
