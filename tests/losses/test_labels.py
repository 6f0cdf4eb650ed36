"""Labels are anything with equality, or multi-hot rows."""

import numpy as np
import pytest
from agreement import check, truth
from frameworks import FRAMEWORKS

import nearfar as nf

RNG = np.random.default_rng(31)
X = RNG.normal(size=(7, 3))
LABELS = np.array([1, 0, 0, 2, 1, 0, 3])
# Rows 0 and 4 share two labels, row 3 has none, row 6 none of the others' labels.
MULTI_HOT = np.array(
    [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0] * 4, [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
)
SPELLINGS = {
    "list": LABELS.tolist(),
    "tuple": tuple(LABELS.tolist()),
    "strings": np.array(["cat", "a dog", "eel", "fox"])[LABELS],
    "list of strings": [["cat", "a dog", "eel", "fox"][i] for i in LABELS],
    "floats": LABELS * 0.5 - 1,
    "negative": LABELS - 2,
    "uint8": LABELS.astype(np.uint8) + np.uint8(250),
    "far apart": np.array([-(2**62), 2**62, 0, 5])[LABELS],
    "bool": LABELS > 0,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(framework, spelling):
    """The same grouping has the same loss; labels of NumPy go with any framework."""
    labels = SPELLINGS[spelling]
    groups = (LABELS > 0).astype(int) if spelling == "bool" else LABELS
    want = truth("SupCon", [X], groups)
    value = nf.SupCon()(framework.asarray(X), labels)
    assert abs(float(value) - want.value) < 1e-13 * (1 + want.largest_logit)


@pytest.mark.parametrize("spelling", ["floats", "negative", "uint8", "far apart", "bool"])
def test_spellings_in_the_framework(framework, spelling):
    labels = framework.labels(SPELLINGS[spelling])
    groups = (LABELS > 0).astype(int) if spelling == "bool" else LABELS
    want = truth("SupCon", [X], groups)
    value = nf.SupCon()(framework.asarray(X), labels)
    assert abs(float(value) - want.value) < 1e-13 * (1 + want.largest_logit)


@pytest.mark.parametrize("label_dtype", ["bool", "float32", "uint8"])
def test_multi_hot_of_any_dtype(framework, label_dtype):
    check(framework, "SupCon", [X], MULTI_HOT.astype(label_dtype), denominator="own_positive")


@pytest.mark.parametrize("denominator", ["all", "own_positive", "negatives"])
def test_multi_hot(framework, dtype, denominator):
    for positives in ("mean_log", "sum_log", "log_mean", "log_sum"):
        check(
            framework,
            "SupCon",
            [X],
            MULTI_HOT,
            dtype=dtype,
            denominator=denominator,
            positives=positives,
            include_self=positives == "log_sum",
            about=positives,
        )


def test_multi_hot_row_of_zeros_has_no_positive(framework):
    losses = nf.SupCon(reduction="none")(framework.asarray(X), framework.labels(MULTI_HOT))
    losses = framework.to_numpy(losses)
    assert losses[3] == 0
    assert losses[6] == 0
    assert (losses[[0, 1, 2, 4, 5]] > 0).all()


def test_one_hot_is_the_class(framework):
    one_hot = np.eye(4, dtype=int)[LABELS]
    loss = nf.SupCon(average="pairs")
    x = framework.asarray(X)
    by_class = loss(x, framework.labels(LABELS))
    by_row = loss(x, framework.labels(one_hot))
    assert abs(float(by_class) - float(by_row)) < 1e-13 * 10


def test_sharing_is_not_transitive(framework):
    """Rows 1 and 2 both share a label with row 0 and none with each other."""
    labels = [[1, 1], [1, 0], [0, 1]]
    check(framework, "SupCon", [X[:3]], labels, similarity="dot", temperature=1.0)


def test_labels_of_another_framework(framework):
    """They follow the embeddings."""
    x = framework.asarray(X)
    want = float(nf.SupCon()(x, framework.labels(LABELS)))
    for other in FRAMEWORKS.values():
        assert float(nf.SupCon()(x, other.labels(LABELS))) == want


def test_labels_are_not_kept(framework):
    """The same batch size with other labels is another loss."""
    loss, x = nf.SupCon(), framework.asarray(X)
    for labels in (LABELS, LABELS[::-1].copy(), np.array([0, 0, 1, 1, 2, 2, 3])):
        want = truth("SupCon", [X], labels)
        value = loss(x, framework.labels(labels))
        assert abs(float(value) - want.value) < 1e-13 * (1 + want.largest_logit)
