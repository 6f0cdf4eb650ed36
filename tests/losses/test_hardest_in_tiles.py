"""Hardest triplets of batches that are many tiles, half of which are computed."""

import numpy as np
import pytest
from support.agreement import check_weighted, truth
from support.backends import FRAMEWORKS

import nearfar as nf

RNG = np.random.default_rng(26)
# A class of several tiles, one of more rows than are told apart at once, small ones, single rows.
LABELS = RNG.permutation(np.repeat(np.arange(25), [130, 40, 9, 7, *[3] * 6, *[1] * 15]))
X = (RNG.normal(size=(len(LABELS), 4)) * RNG.uniform(0.5, 2, (len(LABELS), 1))).astype(np.float32)


@pytest.mark.parametrize("name", ["numpy", "torch"])  # which are written to
@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cosine", "chebyshev"])
@pytest.mark.parametrize(("tile", "workers"), [(16, 2), (150, None)])
def test_values_and_gradients(name, distance, tile, workers):
    fields = {"mining": "hard", "distance": distance, "margin": 0.3, "reduction": "sum"}
    want = truth("BatchTriplet", [X], LABELS, upstream=3.0, **fields)
    loss = nf.BatchTriplet(**fields).with_options(tile=tile, workers=workers)
    check_weighted(FRAMEWORKS[name], loss, X, LABELS, want, "float32", 3.0, distance)


@pytest.mark.parametrize("tile", [16, 4096])
def test_of_rows_as_far_the_first_in_its_class_is_taken(tile):
    """In whichever order tiles come."""
    x = np.zeros((64, 2))
    x[:, 0] = np.repeat([0.0, 1.0], 32)
    loss = nf.BatchTriplet(mining="hard", margin=2.0).with_options(tile=tile)
    _, (gradient,) = loss.value_and_grad(x, np.repeat([0, 1], 32))
    # Every row is pulled away from the first of the other class, which all of those push.
    pushed = np.flatnonzero(np.abs(gradient[:, 0]) > 1.5 / 64)
    assert pushed.tolist() == [0, 32]


@pytest.mark.parametrize("tile", [16, 4096])
def test_a_row_that_is_not_a_number_is_seen_by_all(tile):
    x = X.astype(float)
    x[3] = np.nan
    loss = nf.BatchTriplet(mining="hard", reduction="none")
    each = loss.with_options(tile=tile, check_finite=False)(x, LABELS)
    assert np.isnan(each).all()
