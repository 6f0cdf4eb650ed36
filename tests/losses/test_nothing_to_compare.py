"""No positives, no negatives, one class, one row: a stated value, a zero gradient, no NaN."""

import warnings

import numpy as np
import pytest
from oracles import conventions, supcon
from support.agreement import check, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(91)
X = RNG.normal(size=(5, 3))
ALONE = {
    "all singletons": (X, [0, 1, 2, 3, 4]),
    "one row": (X[:1], [0]),
    "no labels": (X, np.zeros((5, 2), dtype=int)),
    "multi-hot apart": (X, np.eye(5, dtype=int)),
}


def quietly(framework, call):
    """The result of a call that must warn exactly once on NumPy and never elsewhere."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    expected = 1 if framework.name == "numpy" else 0
    assert len(caught) == expected, [str(w.message) for w in caught]
    for warning in caught:
        assert issubclass(warning.category, UserWarning)
        assert "positive" in str(warning.message)
    return result


@sampled(
    "framework, dtype, case, without_positives, denominator",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    ALONE,
    ["skip", "zero"],
    conventions.DENOMINATORS,
)
def test_no_positive_pair(framework, dtype, case, without_positives, denominator):
    x, labels = ALONE[case]
    x, labels = framework.asarray(x, dtype), framework.labels(labels)
    for positives, average in conventions.POSITIVES:
        loss = nf.SupCon(
            denominator=denominator,
            positives=positives,
            average=average,
            without_positives=without_positives,
        )
        assert float(quietly(framework, lambda f=loss: f(x, labels))) == 0
        value, gradients = quietly(framework, lambda f=loss: f.value_and_grad(x, labels))
        assert framework.dtype(value) == dtype
        assert float(value) == 0
        assert (framework.read(gradients[0]) == 0).all()
        assert framework.dtype(gradients[0]) == dtype


def test_no_positive_pair_for_every_anchor(framework):
    x, labels = framework.asarray(X), framework.labels([0, 1, 2, 3, 4])
    losses = quietly(framework, lambda: nf.SupCon(reduction="none")(x, labels))
    assert (framework.read(losses) == np.zeros(5)).all()


def test_the_warning_repeats_with_the_fault():
    for _ in range(2):
        with pytest.warns(UserWarning, match="positive"):
            nf.SupCon()(X, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("labels", [[1] * 5, np.ones((5, 2), dtype=int)], ids=["1-D", "multi-hot"])
@pytest.mark.parametrize(("positives", "average"), conventions.POSITIVES)
def test_one_class_without_negatives(framework, dtype, labels, positives, average):
    """Nothing to compare with: as if nothing were positive."""
    x, labels = framework.asarray(X, dtype), framework.labels(labels)
    loss = nf.SupCon(denominator="negatives", positives=positives, average=average)
    value, gradients = quietly(framework, lambda: loss.value_and_grad(x, labels))
    assert float(value) == 0
    assert (framework.read(gradients[0]) == 0).all()


@pytest.mark.parametrize("similarity", conventions.SIMILARITIES)
@pytest.mark.parametrize("labels", [[1] * 5, np.ones((5, 2), dtype=int)], ids=["1-D", "multi-hot"])
def test_one_class(framework, dtype, labels, similarity):
    """The other conventions are ordinary: own_positive has ratio 1 and counts."""
    for positives, average in conventions.POSITIVES:
        for denominator, include_self in (
            ("all", False),
            ("all", True),
            ("own_positive", False),
            ("own_positive", True),
            ("negatives", True),
        ):
            check(
                framework,
                "SupCon",
                [X],
                labels,
                dtype=dtype,
                about=f"{denominator} {positives} {include_self}",
                similarity=similarity,
                denominator=denominator,
                positives=positives,
                average=average,
                include_self=include_self,
                temperature=0.5,
            )


def test_own_positive_without_negatives_is_zero_and_counts(framework):
    """Rows 0 and 1 share with every row; rows 2 and 3 oppose each other."""
    labels = [[1, 1], [1, 1], [1, 0], [0, 1]]
    loss = nf.SupCon(denominator="own_positive", reduction="none")
    losses = framework.read(loss(framework.asarray(X[:4]), framework.labels(labels)))
    assert (losses[:2] == 0).all()
    assert (losses[2:] > 0).all()
    mean = nf.SupCon(denominator="own_positive")(framework.asarray(X[:4]), framework.labels(labels))
    assert abs(float(mean) - losses.sum() / 4) < 1e-13


def test_some_anchors_without_negatives(framework, dtype):
    """With "negatives" those anchors and their pairs leave the mean."""
    labels = [[1, 1], [1, 1], [1, 0], [0, 1]]
    for average in ("anchors", "pairs"):
        for without_positives in ("skip", "zero"):
            fields = {"average": average, "without_positives": without_positives}
            want = supcon.supcon(X[:4].tolist(), labels, denominator="negatives", **fields)
            value, _ = check(
                framework, "SupCon", [X[:4]], labels, dtype=dtype, denominator="negatives", **fields
            )
            assert abs(float(value) - want) < 1e-4


def test_one_pair_of_views(framework, dtype):
    """N = 1: the positive is the only candidate."""
    a, b = framework.asarray(X[:1], dtype), framework.asarray(X[1:2], dtype)
    for loss in (
        nf.NTXent(),
        nf.NTXent(denominator="own_positive"),
        nf.InfoNCE(),
        nf.HCL(),
        nf.CLIP(),
    ):
        value, gradients = loss.value_and_grad(a, b)
        assert float(value) == 0
        assert all((framework.read(g) == 0).all() for g in gradients)
    for loss in (nf.NTXent(denominator="negatives"), nf.DCL()):
        value, gradients = quietly(framework, lambda loss=loss: loss.value_and_grad(a, b))
        assert float(value) == 0
        assert all((framework.read(g) == 0).all() for g in gradients)


def test_one_pair_is_a_yes_or_no(framework, dtype):
    """SigLIP asks whether the pair is one; a triplet compares within itself."""
    check(framework, "SigLIP", [X[:1], X[1:2]], dtype=dtype, temperature=0.5, bias=-1.0)
    check(framework, "Triplet", [X[:1], X[1:2], X[2:3]], dtype=dtype, margin=9.0)


@pytest.mark.parametrize("similarity", conventions.SIMILARITIES)
@pytest.mark.parametrize("order", ["farther", "nearer"])
def test_one_row_of_supcr(framework, dtype, order, similarity):
    """No pair at all: 0, and said on NumPy."""
    x = framework.asarray(X[:1], dtype)
    fields = {"order": order, "similarity": similarity}
    for targets in ([3], [0.5], [[1.0, 2.0]]):
        targets = framework.labels(targets)
        loss, each = nf.SupCR(**fields), nf.SupCR(**fields, reduction="none")
        value, (gradient,) = quietly(framework, lambda f=loss, t=targets: f.value_and_grad(x, t))
        assert framework.dtype(value) == dtype
        assert float(value) == 0
        assert framework.dtype(gradient) == dtype
        assert (framework.read(gradient) == 0).all()
        losses = quietly(framework, lambda f=each, t=targets: f(x, t))
        assert framework.read(losses).tolist() == [0]


def test_one_query_with_negatives(framework, dtype):
    check(framework, "InfoNCE", [X[:1], X[1:2], X[2:]], dtype=dtype, temperature=0.5)
    check(framework, "InfoNCE", [X[:1], X[1:2], X[None, 2:]], dtype=dtype, temperature=0.5)


def test_anchors_without_positives_get_gradient_as_negatives(framework, dtype):
    """The singleton has no loss of its own and still pushes the others away."""
    labels = [0, 0, 1, 1, 2]
    want = truth("SupCon", [X], labels)
    assert np.abs(want.gradients[0][4]).max() > 0.01
    check(framework, "SupCon", [X], labels, dtype=dtype)
