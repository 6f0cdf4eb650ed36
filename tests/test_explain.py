"""What a loss says of a batch: planted faults are named, numbers are those of plain loops."""

import json
import math

import matplotlib as mpl
import numpy as np
import pytest
from oracles import hcl, ntxent
from support.backends import BACKENDS

import nearfar as nf

mpl.use("Agg")
RNG = np.random.default_rng(41)
A = RNG.normal(size=(8, 5))
B = A + 0.5 * RNG.normal(size=(8, 5))
LABELS = np.array([0, 2, 0, 1, 1, 2, 0, 1])


def findings(loss, *inputs):
    return "\n".join(loss.explain(*inputs).to_dict()["findings"])


def test_a_sound_batch_has_no_findings():
    assert nf.NTXent().explain(A, B).to_dict()["findings"] == []


def test_a_duplicate_pair():
    x = A.copy()
    x[5] = x[1]
    assert "embeddings[1] = embeddings[5]" in findings(nf.SupCon(), x, LABELS)
    assert "1 of 8 rows" in findings(nf.SupCon(), x, LABELS)


@pytest.mark.parametrize("loss", [nf.CLIP(), nf.SigLIP()], ids=str)
@pytest.mark.parametrize("side", [0, 1], ids=["x", "y"])
def test_duplicates_on_either_side(loss, side):
    sides = [A.copy(), B.copy()]
    sides[side][6] = sides[side][2]
    name = "xy"[side]
    assert f"1 of 16 rows repeat an earlier one: {name}[2] = {name}[6]" in findings(loss, *sides)


def test_duplicates_among_positives_and_in_a_queue():
    query, positive, queue = A, B.copy(), RNG.normal(size=(5, 5))
    assert findings(nf.InfoNCE(), query, positive, queue) == ""
    positive[7] = positive[0]
    assert "positive[0] = positive[7]" in findings(nf.InfoNCE(), query, positive)
    queue[4] = positive[3]
    said = findings(nf.InfoNCE(), query, positive, queue)
    assert "2 of 21 rows repeat an earlier one" in said
    assert "positive[3] = negatives[4]" in said


@pytest.mark.parametrize("features", [(5,), (5, 1)], ids=["rows", "axes"])
def test_a_positive_among_the_negatives(features):
    """Positives and more, given as negatives by those who want both."""
    query, positive = (x.reshape(8, *features) for x in (A, B))
    hard = RNG.normal(size=(3, *features))
    said = findings(nf.InfoNCE(), query, positive, np.concatenate([positive, hard]))
    assert "8 of 8 anchors have their own positive among their negatives" in said
    assert "positive[1] = negatives[1]" in said
    own = RNG.normal(size=(8, 2, *features))
    assert findings(nf.InfoNCE(), query, positive, own) == ""
    own[5, 1], own[2, 0] = positive[5], positive[6]
    said = findings(nf.InfoNCE(), query, positive, own)
    assert "1 of 8 anchors have their own positive" in said
    assert "positive[5] = negatives[5, 1]" in said


def test_a_positive_that_is_the_negative():
    negative = RNG.normal(size=A.shape)
    assert findings(nf.Triplet(margin=9.0), A, B, negative) == ""
    negative[4] = B[4]
    assert "positive[4] = negative[4]" in findings(nf.Triplet(margin=9.0), A, B, negative)


@pytest.mark.parametrize("dtype", [bool, int, float])
def test_a_mask_of_pairs_given_as_labels(dtype):
    mask = np.eye(8, dtype=dtype)
    mask[0, 1] = mask[1, 0] = mask[1, 2] = mask[2, 1] = 1  # no equivalence: 0 and 2 share row 1
    assert "symmetric 8 x 8 matrix with a diagonal of ones" in findings(nf.SupCon(), A, mask)
    lopsided = mask.copy()
    lopsided[3, 4] = 1
    assert "matrix" not in findings(nf.SupCon(), A, lopsided)
    assert "matrix" not in findings(nf.SupCon(), A, mask[:, :5])


def test_similarities_of_rows_given_as_targets():
    graded = A @ A.T
    assert "targets are 8 x 8" in findings(nf.SupCR(), A, graded)
    assert findings(nf.SupCR(), A, graded[:, :3]) == ""


@pytest.mark.parametrize("tile", [None, 2])
def test_scalars_for_a_logger(tile):
    loss = nf.SupCon(temperature=0.3).with_options(memory=64 * 2**20 if tile is None else 2048)
    scalars = loss.explain(A, LABELS).scalars()
    unit = A / np.linalg.norm(A, axis=1, keepdims=True)
    cosines, same = unit @ unit.T, np.equal.outer(LABELS, LABELS)
    others = ~np.eye(8, dtype=bool)
    nearest = np.where(others, cosines, -2).argmax(axis=1)
    assert scalars["top1"] == (LABELS[nearest] == LABELS).mean()
    np.testing.assert_allclose(scalars["mean_positive"], cosines[same & others].mean())
    np.testing.assert_allclose(scalars["mean_negative"], cosines[~same].mean())
    np.testing.assert_allclose(scalars["value"], loss(A, LABELS))
    assert all(type(number) is float for number in scalars.values())
    assert scalars["duplicates_count"] == 0
    distances = nf.PairMargin().explain(A, LABELS).scalars()
    assert distances["mean_positive"] > 0
    assert "effective_negatives" not in distances
    assert "top1" not in nf.SupCR().explain(A, LABELS).scalars()


def test_a_singleton_class():
    labels = [0, 2, 0, 1, 1, 2, 0, 9]
    assert "1 of 8 anchors have no positive and are not counted: rows 7" in findings(
        nf.SupCon(), A, labels
    )
    assert "counted as 0" in findings(nf.SupCon(without_positives="zero"), A, labels)


def test_a_batch_where_every_term_is_clamped():
    """Negatives opposite to the anchors, and a positive that takes more than its share."""
    a = np.stack([np.eye(4)[0] * (1 if i % 2 else -1) for i in range(2)])
    a = a + 0.01 * RNG.normal(size=a.shape)
    b = a + 0.01 * RNG.normal(size=a.shape)
    loss = nf.HCL(temperature=0.1)
    estimates = hcl.estimates(a.tolist(), b.tolist(), temperature=0.1)
    assert all(raw <= floor for _, raw, floor in estimates)
    explanation = loss.explain(a, b)
    assert explanation.to_dict()["clamped"] == 4
    assert "all 4 anchors are at the lower bound" in "\n".join(explanation.to_dict()["findings"])


def test_clamped_anchors_are_those_of_the_oracle():
    want = [
        raw <= floor for _, raw, floor in hcl.estimates(A.tolist(), B.tolist(), temperature=0.15)
    ]
    assert 0 < sum(want) < 16
    assert nf.HCL(temperature=0.15).clamped(A, B).tolist() == want
    assert nf.HCL(temperature=0.15).explain(A, B).to_dict()["clamped"] == sum(want)


def test_a_collapsed_batch():
    assert "collapsed" in findings(nf.SupCon(), np.ones((8, 5)), LABELS)
    assert "collapsed" in findings(nf.BatchTriplet(), np.ones((8, 5)), LABELS)


def test_labels_all_different():
    with pytest.warns(UserWarning, match="no anchor"):
        nf.SupCon()(A, np.arange(8))
    assert "all labels are different" in findings(nf.SupCon(), A, np.arange(8))


def test_one_class():
    assert "no anchor has a negative" in findings(nf.SupCon(), A, np.zeros(8))
    assert "nothing is learned" not in findings(nf.SupCon(), A, np.zeros(8))


@pytest.mark.parametrize(
    ("loss", "inputs"),
    [
        (nf.DCL(), (A[:1], B[:1])),
        (nf.NTXent(denominator="negatives"), (A[:1], B[:1])),
        (nf.SupCon(denominator="negatives"), (A, np.zeros(8))),
        (nf.BatchTriplet(), (A, np.zeros(8))),
    ],
    ids=lambda x: type(x).__name__,
)
def test_empty_denominators(loss, inputs):
    assert "no anchor has a negative" in findings(loss, *inputs)
    assert "the loss is 0 and nothing is learned" in findings(loss, *inputs)


def test_worse_than_chance():
    assert "above chance" in findings(nf.NTXent(), A, -A)


def test_numbers_are_those_of_loops():
    facts = nf.NTXent(temperature=0.3).explain(A, B).to_dict()
    rows = np.concatenate([A, B])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert facts["value"] == pytest.approx(ntxent.ntxent(A.tolist(), B.tolist(), temperature=0.3))
    assert facts["chance"] == pytest.approx(math.log(15))
    assert facts["negatives"] == {"least": 14, "median": 14.0, "most": 14}
    effective, near = [], []
    for i in range(16):
        others = [j for j in range(16) if j != i and j % 8 != i % 8]
        weights = np.exp(cosines[i, others] / 0.3)
        share = weights / weights.sum()
        effective.append(math.exp(-(share * np.log(share)).sum()))
        near += [(cosines[i, j], i, j) for j in others if i < j]
    assert facts["effective_negatives"] == pytest.approx(np.median(effective))
    similarity, i, j = max(near)
    hardest = facts["near_negatives"][0]
    assert hardest["similarity"] == pytest.approx(similarity)
    assert [hardest["anchor"], hardest["candidate"]] == [f"{'ab'[k // 8]}[{k % 8}]" for k in (i, j)]
    positives = [cosines[i, i + 8] for i in range(8)]
    assert facts["far_positives"][0]["similarity"] == pytest.approx(min(positives))


def test_the_share_of_the_hardest_tenth():
    """20 anchors: the two with the highest losses."""
    a, b = RNG.normal(size=(10, 4)), RNG.normal(size=(10, 4))
    loss = nf.NTXent(temperature=0.2)
    losses = nf.NTXent(temperature=0.2, reduction="none")(a, b)
    _, gradients = loss.value_and_grad(a, b)
    norms = np.linalg.norm(np.concatenate(gradients), axis=1)
    want = norms[np.argsort(losses)[-2:]].sum() / norms.sum()
    assert loss.explain(a, b).to_dict()["hardest_tenth"] == pytest.approx(want)


CALLS = {
    "ntxent": (nf.NTXent(), (A, B)),
    "dcl": (nf.DCL(), (A, B)),
    "hcl": (nf.HCL(), (A, B)),
    "clip": (nf.CLIP(), (A, B)),
    "siglip": (nf.SigLIP(), (A, B)),
    "infonce": (nf.InfoNCE(), (A, B)),
    "infonce-queue": (nf.InfoNCE(), (A, B, RNG.normal(size=(9, 5)))),
    "infonce-own": (nf.InfoNCE(similarity="neg_euclidean"), (A, B, RNG.normal(size=(8, 3, 5)))),
    "supcon": (nf.SupCon(), (A, LABELS)),
    "supcon-none": (nf.SupCon(reduction="none"), (A, LABELS)),
    "supcon-many": (nf.SupCon(), (A, (RNG.random((8, 3)) < 0.5).astype(int))),
    "batchtriplet": (nf.BatchTriplet(mining="semihard"), (A, LABELS)),
    "pairmargin": (nf.PairMargin(distance="cosine"), (A, LABELS)),
    "supcr": (nf.SupCR(), (A, RNG.normal(size=8))),
    "triplet": (nf.Triplet(), (A, B, B[::-1].copy())),
    "one pair": (nf.NTXent(), (A[:1], B[:1])),
    "images": (nf.NTXent(), (A.reshape(4, 2, 5), B.reshape(4, 2, 5))),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_loss_is_explained_and_drawn(name):
    loss, inputs = CALLS[name]
    explanation = loss.explain(*inputs)
    facts = explanation.to_dict()
    assert json.loads(json.dumps(facts)) == facts
    value = loss(*inputs)
    assert facts["value"] == pytest.approx(value.mean() if loss.reduction == "none" else value)
    assert str(explanation).startswith(type(loss).__name__)
    assert explanation.losses.shape == explanation.pull.shape == (facts["anchors"],)
    figure = explanation.plot()
    assert len(figure.axes) == 3
    mpl.pyplot.close(figure)


def test_own_negatives_are_compared_with_their_query_only():
    own = RNG.normal(size=(8, 3, 5))
    facts = nf.InfoNCE().explain(A, B, own).to_dict()
    assert facts["negatives"] == {"least": 3, "median": 3.0, "most": 3}
    at = facts["near_negatives"][0]
    k = int(at["candidate"].removeprefix("negatives[").removesuffix("]"))
    assert at["anchor"] == f"query[{k // 3}]"


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
def test_every_framework_gives_the_same_numbers(backend):
    want = nf.NTXent().explain(A.astype("float32"), B.astype("float32")).to_dict()
    views = [backend.asarray(x, "float32") for x in (A, B)]
    assert nf.NTXent().explain(*views).to_dict() == want


def test_a_temperature_at_the_call():
    want = nf.CLIP(temperature=0.3).explain(A, B).to_dict()["value"]
    torch = BACKENDS["torch"]
    views = [torch.asarray(x) for x in (A, B)]
    for temperature in (0.3, torch.asarray(0.3)):
        got = nf.CLIP().explain(*views, temperature=temperature).to_dict()["value"]
        assert got == pytest.approx(want, rel=1e-12)


def test_a_bias_at_the_call():
    want = nf.SigLIP(bias=-3.0).explain(A, B).to_dict()
    torch = BACKENDS["torch"]
    views = [torch.asarray(x) for x in (A, B)]
    for bias in (-3.0, torch.asarray(-3.0)):
        assert nf.SigLIP().explain(*views, bias=bias).to_dict() == want


def test_many_rows_fit_a_small_memory():
    """2,000 rows in blocks of a few: the same numbers, and a picture of 400 cells a side."""
    x, labels = RNG.normal(size=(2000, 4)), RNG.integers(0, 30, 2000)
    whole = nf.SupCon().explain(x, labels).to_dict()
    pieces = nf.SupCon().with_options(memory=2**20).explain(x, labels)
    assert pieces.to_dict()["near_negatives"] == whole["near_negatives"]
    assert pieces.to_dict()["effective_negatives"] == pytest.approx(whole["effective_negatives"])
    figure = pieces.plot()
    assert figure.axes[0].images[0].get_array().shape == (400, 400, 3)
    mpl.pyplot.close(figure)


def test_a_notebook_shows_table_findings_and_picture(monkeypatch):
    x = A.copy()
    x[5] = x[1]
    explanation = nf.SupCon().explain(x, LABELS)
    text = explanation._repr_html_()
    assert text.startswith("<div><strong>SupCon: ")
    assert "<li>1 of 8 rows repeat an earlier one: embeddings[1] = embeddings[5]</li>" in text
    assert "<td>anchors</td><td>8</td>" in text
    assert 'src="data:image/png;base64,' in text
    monkeypatch.setattr("nearfar.explain.notebook.find_spec", lambda name: None)
    assert "<img" not in explanation._repr_html_()
