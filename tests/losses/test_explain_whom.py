"""What explain counts where anchors meet a reference, or ids say who is alike."""

import numpy as np
import pytest

import nearfar as nf

RNG = np.random.default_rng(0)
X, R = RNG.normal(size=(6, 4)), RNG.normal(size=(5, 4))
LABELS, OTHERS = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 4, 0])
WEIGHTS = np.linspace(0, 1, 6)


def spread(facts, key):
    return facts[key]["least"], facts[key]["most"]


@pytest.mark.parametrize("kind", [nf.SupCon, nf.BatchTriplet, nf.PairMargin])
def test_a_reference(kind):
    given = (X, LABELS, R, OTHERS)
    facts = kind().explain(*given, sample_weight=WEIGHTS).to_dict()
    assert facts["value"] == float(kind()(*given, sample_weight=WEIGHTS))
    assert (spread(facts, "positives"), spread(facts, "negatives")) == ((0, 2), (3, 5))
    assert facts["near_negatives"][0]["candidate"].startswith("reference[")
    both = kind(candidates="both").explain(*given).to_dict()
    assert (spread(both, "positives"), spread(both, "negatives")) == ((0, 3), (7, 10))


def test_a_reference_of_targets():
    facts = nf.SupCR().explain(X, LABELS, R, OTHERS).to_dict()
    assert spread(facts, "positives") == (5, 5)
    assert spread(
        nf.SupCR(candidates="both").explain(X, LABELS, R, OTHERS).to_dict(), "positives"
    ) == (10, 10)


@pytest.mark.parametrize("kind", [nf.SigLIP, nf.CLIP])
@pytest.mark.parametrize(("same", "counts"), [
    ("positive", ((1, 2), (4, 5))), ("ignore", ((1, 1), (4, 5))), ("negative", ((1, 1), (5, 5))),
])  # fmt: skip
def test_ids(kind, same, counts):
    loss = kind(same=same)
    facts = loss.explain(X, X[::-1] + 1, LABELS).to_dict()
    assert facts["value"] == float(loss(X, X[::-1] + 1, LABELS))
    assert (spread(facts, "positives"), spread(facts, "negatives")) == counts


def test_sides_of_two_lengths():
    facts = nf.SigLIP().explain(X, R, (LABELS, OTHERS)).to_dict()
    assert (spread(facts, "positives"), spread(facts, "negatives")) == ((0, 2), (3, 5))


@pytest.mark.parametrize(("same", "negatives"), [("ignore", (8, 10)), ("negative", (10, 10))])
def test_ids_of_views(same, negatives):
    loss, views = nf.NTXent(same=same), (X, X[::-1] + 1)
    facts = loss.explain(*views, LABELS, sample_weight=WEIGHTS).to_dict()
    assert facts["value"] == float(loss(*views, LABELS, sample_weight=WEIGHTS))
    assert (spread(facts, "positives"), spread(facts, "negatives")) == ((1, 1), negatives)


def test_one_array_of_logarithms():
    log_q = -np.arange(6.0)
    value = nf.SupCon().explain(X, LABELS, log_q=log_q).to_dict()["value"]
    assert value == float(nf.SupCon()(X, LABELS, log_q=log_q))
