"""Labels are anything with equality, or multi-hot rows; targets are real numbers."""

import numpy as np
import pytest
from oracles import supcr
from support.agreement import check, truth
from support.backends import FRAMEWORKS

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
    "objects": np.array([frozenset(), "a dog", 3, (4, 5)], dtype=object)[LABELS],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(framework, spelling):
    """The same grouping has the same loss; labels of NumPy go with any framework."""
    labels = SPELLINGS[spelling]
    groups = (LABELS > 0).astype(int) if spelling == "bool" else LABELS
    want = truth("SupCon", [X], groups)
    value = nf.SupCon()(framework.asarray(X), labels)
    assert abs(float(value) - want.value) < 1e-13 * (1 + want.largest_logit)


def test_nan_among_objects_is_refused(framework):
    """As pandas marks what is missing in a column of text."""
    labels = np.array(["cat", "cat", np.nan, "fox", "fox", "cat", "cat"], dtype=object)
    with pytest.raises(ValueError, match=r"labels without NaN.*row 2"):
        nf.SupCon()(framework.asarray(X), labels)


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
    losses = framework.read(losses)
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


TARGETS = np.array([3, 0, 7, 1, 1, 12, 5])
NUMBERS = {
    "list": TARGETS.tolist(),
    "tuple": tuple(TARGETS.tolist()),
    "floats": TARGETS * 0.25,
    "float32": (TARGETS * 0.25).astype(np.float32),
    "float16": (TARGETS * 0.25).astype(np.float16),
    # Differences below 0, which unsigned numbers do not have.
    "uint8": (TARGETS + 240).astype(np.uint8),
    "int8": (TARGETS - 120).astype(np.int8),
    "uint32": TARGETS.astype(np.uint32),
    "column": TARGETS[:, None],
    "column of lists": TARGETS[:, None].tolist(),
    "column of bytes": (TARGETS[:, None] + 240).astype(np.uint8),
    "bool": TARGETS > 2,
    "rows of bool": np.stack([TARGETS > 2, TARGETS > 6], 1),
}


def supcr_of(spelling, **fields):
    """By the loops, on Python's own numbers."""
    if spelling == "bool":
        targets = (TARGETS > 2).astype(int)
    elif spelling == "rows of bool":
        targets = np.stack([TARGETS > 2, TARGETS > 6], 1).astype(int)
    else:
        targets = TARGETS
    return supcr.supcr(X.tolist(), targets.tolist(), **fields)


@pytest.mark.parametrize("label_distance", ["l1", "l2"])
@pytest.mark.parametrize("spelling", NUMBERS)
def test_spellings_of_targets(framework, spelling, label_distance):
    """Only the order of their distances counts; NumPy's arrays and lists go with any framework."""
    fields = {"label_distance": label_distance, "temperature": 0.5}
    want = supcr_of(spelling, **fields)
    value = nf.SupCR(**fields)(framework.asarray(X), NUMBERS[spelling])
    assert abs(float(value) - want) < 1e-13


@pytest.mark.parametrize("spelling", [k for k in NUMBERS if "list" not in k and k != "tuple"])
def test_spellings_of_targets_in_the_framework(framework, spelling):
    want = supcr_of(spelling, temperature=0.5)
    loss = nf.SupCR(temperature=0.5)
    value = loss(framework.asarray(X), framework.labels(NUMBERS[spelling]))
    assert abs(float(value) - want) < 1e-13


def test_a_column_of_targets_has_the_same_gradient(framework):
    x = framework.asarray(X)
    results = [
        framework.differentiate(nf.SupCR(), [x], framework.labels(targets))
        for targets in (TARGETS * 0.25, TARGETS[:, None] * 0.25)
    ]
    assert float(results[0][0]) == float(results[1][0])
    one, other = (framework.read(gradients[0]) for _, gradients in results)
    assert np.abs(one).max() > 0.01
    np.testing.assert_array_equal(one, other)


def test_targets_of_another_framework(framework):
    x = framework.asarray(X, "float32")
    want = float(nf.SupCR()(x, framework.labels(TARGETS)))
    for other in FRAMEWORKS.values():
        assert float(nf.SupCR()(x, other.labels(TARGETS))) == want


def test_targets_are_not_kept(framework):
    loss, x = nf.SupCR(temperature=0.5), framework.asarray(X)
    for targets in (TARGETS, TARGETS[::-1].copy(), np.arange(7) ** 2):
        want = supcr.supcr(X.tolist(), targets.tolist(), temperature=0.5)
        assert abs(float(loss(x, framework.labels(targets))) - want) < 1e-13
