"""What explain counts where anchors meet a reference, or ids say who is alike."""

import matplotlib as mpl
import numpy as np
import pytest

import nearfar as nf

mpl.use("Agg")

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


Q, P = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))
OWN, QUEUE = RNG.normal(size=(5, 3, 4)), RNG.normal(size=(7, 4))
SHARED = RNG.normal(size=(6, 4))
IDS = np.array([3, 7, 3, 3, 5])
VALID = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
GUIDES = {
    name: RNG.normal(size=(*x.shape[:-1], 3))
    for name, x in [("query", Q), ("positive", P), ("negatives", OWN), ("queue", QUEUE)]
}
BY = [
    None,
    nf.Exclude(by="self", margin=0.2),
    nf.Exclude(by="self", margin=-0.3, kind="relative"),
    nf.Exclude(by="guide", margin=0.1),
]


def cosine(u, v):
    return float(u @ v / np.sqrt((u @ u) * (v @ v)))


def out(exclude, theta, g):
    if exclude is None:
        return False
    slack = exclude.margin * (abs(theta) if exclude.kind == "relative" else 1)
    return g > theta - slack


def candidates(loss, given, guides):
    """Of each query: how many negatives, and those left out by reason, pair by pair."""
    batch = loss.in_batch == "always" or (
        loss.in_batch == "without_negatives" and not {"negatives", "queue"} & set(given)
    )
    exclude = loss.exclude
    by_guide = exclude is not None and exclude.by == "guide"
    seen = guides if by_guide else given
    n = len(given["query"])
    left, negatives = {"ids": 0, "padding": 0, "exclude": 0}, [0] * n
    for i in range(n):
        theta = cosine(seen["query"][i], seen["positive"][i])
        pairs = [("positive", (j,)) for j in range(n) if batch and j != i]
        for name in ("negatives", "queue"):
            x = given.get(name)
            if x is None:
                continue
            if x.ndim == 2:
                pairs += [(name, (k,)) for k in range(len(x))]
            else:
                owners = range(n) if loss.own == "all" else [i]
                pairs += [(name, (j, k)) for j in owners for k in range(x.shape[1])]
        for name, place in pairs:
            ids, valid = given.get("ids"), given.get("valid")
            if name == "positive" and ids is not None and ids[place[0]] == ids[i]:
                left["ids"] += 1
            elif name == "negatives" and valid is not None and not valid[place]:
                left["padding"] += 1
            elif out(exclude, theta, cosine(seen["query"][i], seen[name][place])):
                left["exclude"] += 1
            else:
                negatives[i] += 1
    return negatives, left


@pytest.mark.parametrize("exclude", BY)
@pytest.mark.parametrize(("fields", "more"), [
    ({}, {"ids": IDS}),
    ({"in_batch": "always"}, {"negatives": OWN, "ids": IDS, "valid": VALID}),
    ({"own": "all"}, {"negatives": OWN, "queue": QUEUE, "valid": VALID}),
    ({"own": "all", "in_batch": "always"}, {"negatives": OWN, "valid": VALID, "ids": IDS}),
    ({"in_batch": "always"}, {"negatives": SHARED, "queue": QUEUE, "ids": IDS}),
    ({"in_batch": "never"}, {"queue": QUEUE, "ids": IDS}),
    ({"in_batch": "always"}, {"queue": QUEUE}),
])  # fmt: skip
def test_queries_meet_whom_the_loss_compares(fields, more, exclude):
    given = {"query": Q, "positive": P, **more}
    guides = GUIDES | ({"negatives": SHARED[:, :3]} if more.get("negatives") is SHARED else {})
    loss = nf.InfoNCE(temperature=0.4, exclude=exclude, **fields)
    named = dict(more)
    if exclude is not None and exclude.by == "guide":
        named["guide"] = tuple(guides[name] for name in loss.embeddings if name in given)
    explanation = loss.explain(Q, P, **named)
    facts = explanation.to_dict()
    negatives, left = candidates(loss, given, guides)
    assert facts["negatives"] == {
        "least": min(negatives), "median": float(np.median(negatives)), "most": max(negatives),
    }  # fmt: skip
    found = facts["left_out"] or {"anchors": 0}
    assert {key: found.get(key, 0) for key in left} == left
    each = one_sum(explanation)
    np.testing.assert_allclose(each, np.asarray(explanation.losses), rtol=1e-10)


def one_sum(explanation):
    """Mean over an anchor's positives of the logarithm of its whole sum, less the positive."""
    found = []
    for tile in explanation.relations.blocks(2**20):
        for z, p, n in zip(tile.logits, tile.positives, tile.negatives, strict=True):
            total = np.log(np.exp(z[p | n]).sum())
            found.append(np.mean(total - z[p]) if p.any() else 0.0)
    return np.array(found)


def by(exclude, *arrays):
    """The arrays again are no guide: features turned around and bent."""
    guided = exclude is not None and exclude.by == "guide"
    return {"guide": tuple(np.sin(3 * x[:, ::-1]) for x in arrays)} if guided else {}


@pytest.mark.parametrize("exclude", BY)
def test_labels_leave_out(exclude):
    loss = nf.SupCon(temperature=0.4, exclude=exclude)
    for fields, arrays, labels in (
        ("reference", (X,), LABELS),
        ("reference", (X, R), OTHERS),
        ("both", (X, R), np.concatenate([LABELS, OTHERS])),
    ):
        loss = nf.SupCon(temperature=0.4, exclude=exclude, candidates=fields)
        given = (X, LABELS, R, OTHERS)[: 2 * len(arrays)]
        explanation = loss.explain(*given, **by(exclude, *arrays))
        np.testing.assert_allclose(one_sum(explanation), explanation.losses, rtol=1e-10, atol=0)
        left, rows = 0, np.concatenate(arrays) if fields == "both" else arrays[-1]
        g = by(exclude, X, rows).get("guide", (X, rows))
        itself = fields == "both" or len(arrays) == 1
        for i in range(len(X)):
            others = [j for j in range(len(rows)) if not (itself and i == j)]
            positives = [cosine(g[0][i], g[1][j]) for j in others if LABELS[i] == labels[j]]
            for j in others:
                if LABELS[i] != labels[j] and positives:
                    left += out(exclude, min(positives), cosine(g[0][i], g[1][j]))
        assert (explanation.to_dict()["left_out"] or {"exclude": 0})["exclude"] == left


@pytest.mark.parametrize("exclude", BY)
@pytest.mark.parametrize("anchors", ["both", "first"])
@pytest.mark.parametrize("ids", [None, LABELS])
def test_views_leave_out(exclude, anchors, ids):
    a, b = X, X[::-1] * [1, 2, 0.5, 3] + 0.3
    loss = nf.NTXent(temperature=0.4, exclude=exclude, anchors=anchors)
    explanation = loss.explain(a, b, ids, **by(exclude, a, b))
    np.testing.assert_allclose(one_sum(explanation), explanation.losses, rtol=1e-10)
    rows, left = np.concatenate([a, b]), {"ids": 0, "exclude": 0}
    g = np.concatenate(by(exclude, a, b).get("guide", (a, b)))
    for i in range(12 if anchors == "both" else 6):
        for j in range(12):
            if i % 6 == j % 6:
                continue
            if ids is not None and ids[i % 6] == ids[j % 6]:
                left["ids"] += 1
            else:
                left["exclude"] += out(exclude, cosine(g[i], g[(i + 6) % 12]), cosine(g[i], g[j]))
    found = explanation.to_dict()["left_out"] or {}
    assert {key: found.get(key, 0) for key in left} == left
    assert len(rows) == len(explanation.relations.candidates.rows)


@pytest.mark.parametrize("exclude", BY)
@pytest.mark.parametrize("same", ["positive", "ignore", "negative"])
def test_sides_leave_out(exclude, same):
    y = X[::-1] * [1, 2, 0.5, 3] + 0.3
    loss = nf.SigLIP(temperature=0.4, bias=-1.0, exclude=exclude, same=same)
    explanation = loss.explain(X, y, LABELS, **by(exclude, X, y))
    found, ids, left = [], 0, 0
    for tile in explanation.relations.blocks(2**20):
        p, n, z = tile.positives, tile.negatives, tile.logits - 1.0
        found += list((np.log1p(np.exp(-z)) * p + np.log1p(np.exp(z)) * n).sum(axis=1))
    np.testing.assert_allclose(found, explanation.losses, rtol=1e-10)
    g = by(exclude, X, y).get("guide", (X, y))
    for i in range(6):
        alike = [LABELS[i] == LABELS[j] for j in range(6)]
        positive = [alike[j] if same == "positive" else i == j for j in range(6)]
        theta = min(cosine(g[0][i], g[1][j]) for j in range(6) if positive[j])
        for j in range(6):
            if positive[j]:
                continue
            if same == "ignore" and alike[j]:
                ids += 1
            else:
                left += out(exclude, theta, cosine(g[0][i], g[1][j]))
    facts = explanation.to_dict()["left_out"] or {}
    assert (facts.get("ids", 0), facts.get("exclude", 0)) == (ids, left)
    clip = nf.CLIP(exclude=exclude, same=same).explain(X, y, LABELS, **by(exclude, X, y))
    assert clip.to_dict()["left_out"] == explanation.to_dict()["left_out"]


def test_names_of_what_is_left_out():
    loss = nf.InfoNCE(in_batch="always", exclude=nf.Exclude(by="self", margin=0.2))
    explanation = loss.explain(Q, P, OWN, ids=IDS, valid=VALID)
    left = explanation.to_dict()["left_out"]
    scalars = explanation.scalars()
    assert {f"left_out_{key}": float(count) for key, count in left.items()}.items() <= (
        scalars.items()
    )
    assert left["ids"] == 6
    assert left["padding"] == 5
    assert "6 by ids, 5 by padding, " in str(explanation)
    assert nf.InfoNCE().explain(Q, P).to_dict()["left_out"] is None
    assert nf.InfoNCE(same="negative").explain(Q, P, ids=IDS).to_dict()["left_out"] is None


def test_anchors_of_which_all_candidates_are_left_out():
    found = nf.InfoNCE().explain(Q, P, OWN, valid=VALID).to_dict()
    assert found["left_out"] == {"padding": 5, "anchors": 1}
    said = "all candidates of 1 of 5 anchors are left out, but for positives (by padding)"
    assert said in found["findings"]
    every = nf.Exclude(by="self", margin=3.0)
    found = nf.SupCon(exclude=every).explain(X, LABELS).to_dict()
    assert found["left_out"]["anchors"] == 4  # two rows have no positive to be measured by
    assert not any("one class" in finding for finding in found["findings"])
    assert found["chance"] == nf.SupCon().explain(X, LABELS).to_dict()["chance"] > 0


@pytest.mark.parametrize("loss", [nf.NTXent(), nf.SupCon(), nf.CLIP(), nf.InfoNCE()])
def test_weights_of_nobody(loss):
    given = (X, LABELS) if isinstance(loss, nf.SupCon) else (X, X[::-1] * 2 + 1)
    said = "sample_weight is 0 for all: the loss is 0 and nothing is learned"
    explanation = loss.explain(*given, sample_weight=np.zeros(6))
    facts = explanation.to_dict()
    assert said in facts["findings"]
    assert facts["value"] == 0
    assert not explanation.pull.any()
    assert said not in loss.explain(*given, sample_weight=WEIGHTS).to_dict()["findings"]


def test_the_share_of_weighted_anchors():
    """Queries against a queue: the gradient of a query is its own loss's, times its weight."""
    weights = np.array([0.0, 2.0, 0.5, 1.0, 3.0])
    loss = nf.InfoNCE(temperature=0.4)
    _, grads = loss.value_and_grad(Q, P, QUEUE)
    norms = weights * np.linalg.norm(grads[0], axis=1)
    pull = loss.explain(Q, P, QUEUE, sample_weight=weights).pull
    np.testing.assert_allclose(pull, norms / norms.sum(), rtol=1e-12)


def test_other_directions_are_said():
    loss = nf.InfoNCE(directions=("qp", "qq", "pn"))
    facts = loss.explain(Q, P, OWN, valid=VALID).to_dict()
    assert spread(facts, "negatives") == (0, 3)
    assert any('the loss has "qp", "qq", "pn"' in finding for finding in facts["findings"])
    facts = nf.InfoNCE().explain(Q, P, OWN, valid=VALID).to_dict()
    assert not any("direction" in finding for finding in facts["findings"])


def test_ids_and_padding_are_no_rows_that_repeat():
    again = Q.copy()
    again[3] = again[1]
    facts = nf.CLIP().explain(again, P, IDS, **{"sample_weight": np.ones(5)}).to_dict()
    assert facts["duplicates"] == {"count": 1, "rows": 10, "first": [["x[1]", "x[3]"]]}
    own = OWN.copy()
    own[1, 2], own[4, 0] = P[1], P[4]
    facts = nf.InfoNCE().explain(Q, P, own, valid=VALID, log_q=(-np.ones(5), -np.ones((5, 3))))
    assert facts.to_dict()["duplicates"]["count"] == 0
    assert facts.to_dict()["positives_among_negatives"] == {
        "count": 1, "first": [["positive[4]", "negatives[4, 0]"]],
    }  # fmt: skip


def test_a_reference_without_the_labels():
    facts = nf.SupCon().explain(X, LABELS, R, OTHERS + 9).to_dict()
    said = "no anchor has a positive: no candidate has its label; the loss is 0"
    assert any(finding.startswith(said) for finding in facts["findings"])


def test_an_empty_reference_and_an_empty_queue():
    explanation = nf.SupCon().explain(X, LABELS, R[:0], OTHERS[:0])
    facts = explanation.to_dict()
    assert explanation.plot().axes[0].images[0].get_array().shape == (6, 1, 3)
    mpl.pyplot.close("all")
    assert (spread(facts, "positives"), spread(facts, "negatives")) == ((0, 0), (0, 0))
    facts = nf.InfoNCE(in_batch="always").explain(Q, P, queue=QUEUE[:0]).to_dict()
    assert spread(facts, "negatives") == (4, 4)


def test_the_picture_has_a_colour_for_what_is_left_out():
    relation = nf.InfoNCE(in_batch="always").explain(Q, P, OWN, ids=IDS, valid=VALID)
    image = relation.plot().axes[0]
    assert "green: left out" in image.get_title()
    red, green, blue = np.moveaxis(image.images[0].get_array(), -1, 0)
    shown = (green > red) & (green > blue)
    assert shown.sum() == 6 + 5
    assert shown[0, 2]  # an id of its own
    assert shown[1, 5 + 3]  # padding
    plain = nf.InfoNCE().explain(Q, P).plot().axes[0]
    assert "green" not in plain.get_title()
    mpl.pyplot.close("all")
