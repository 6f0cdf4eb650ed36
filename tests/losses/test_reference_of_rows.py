"""Candidates from another set of rows, for losses that see all logits of an anchor at once."""

from dataclasses import replace

import numpy as np
import pytest
from oracles import batchtriplet, circle, lifted, multisimilarity, pairmargin, supcr
from support.backends import BACKENDS, COMPILED, FRAMEWORKS
from support.called import Called, Named, hold
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(5)
X, R = RNG.normal(size=(9, 5)), RNG.normal(size=(7, 5)) + 0.3
LABELS = np.array([2, 0, 2, 1, 0, 2, 5, 0, 1])
OTHERS = np.array([0, 2, 2, 4, 1, 0, 2])  # of 5 there is none, and nobody in the batch is of 4
MARKS, OTHER_MARKS = ((RNG.random((n, 4)) < 0.3).astype(np.int64) for n in (9, 7))
MARKS[3], OTHER_MARKS[2] = 0, 0
TARGETS, OTHER_TARGETS = RNG.integers(0, 6, 9) / 2, RNG.integers(0, 6, 7) / 2
SEVERAL, OTHER_SEVERAL = (RNG.integers(0, 3, (n, 2)) for n in (9, 7))
WEIGHTS = RNG.uniform(0, 2, 9)


def labelled(loss, oracle, labels=LABELS, others=OTHERS):
    facts = {"labels": labels, "reference_labels": others, "sample_weight": WEIGHTS}
    return Called(loss, oracle, {"embeddings": X, "reference": R}, facts)


def ranked(loss, targets=TARGETS, others=OTHER_TARGETS):
    facts = {"targets": targets, "reference_targets": others, "sample_weight": WEIGHTS}
    return Called(loss, supcr.supcr, {"embeddings": X, "reference": R}, facts)


CASES = {
    "supcr": ranked(nf.SupCR()),
    "supcr-nearer": ranked(
        nf.SupCR(order="nearer", label_distance="l2", similarity="cosine", temperature=0.3),
        SEVERAL,
        OTHER_SEVERAL,
    ),
    "all": labelled(nf.BatchTriplet(margin=1.0), batchtriplet.batchtriplet),
    "hard": labelled(
        nf.BatchTriplet(mining="hard", without_positives="zero"), batchtriplet.batchtriplet
    ),
    "semihard": labelled(nf.BatchTriplet(mining="semihard"), batchtriplet.batchtriplet),
    "all-semihard": labelled(
        nf.BatchTriplet(mining="all_semihard", margin=1.5, count="all"), batchtriplet.batchtriplet
    ),
    "pairs": labelled(nf.PairMargin(margin=3.0), pairmargin.pairmargin),
    "all-multi-hot": labelled(
        nf.BatchTriplet(margin=1.0, distance="cosine"),
        batchtriplet.batchtriplet,
        MARKS,
        OTHER_MARKS,
    ),
    "hard-multi-hot": labelled(
        nf.BatchTriplet(mining="hard"), batchtriplet.batchtriplet, MARKS, OTHER_MARKS
    ),
    "pairs-multi-hot": labelled(
        nf.PairMargin(margin=3.0, distance="cityblock"), pairmargin.pairmargin, MARKS, OTHER_MARKS
    ),
}
CASES |= {
    "mined": labelled(nf.MultiSimilarity(mining=0.3, beta=10.0), multisimilarity.multisimilarity),
    "mined-multi-hot": labelled(
        nf.MultiSimilarity(mining=0.3, beta=10.0, without_positives="skip"),
        multisimilarity.multisimilarity,
        MARKS,
        OTHER_MARKS,
    ),
    "weighed": labelled(
        nf.MultiSimilarity(without_positives="zero"), multisimilarity.multisimilarity
    ),
    "circle": labelled(nf.Circle(detach=False, gamma=5.0), circle.circle),
    "circle-all": labelled(
        nf.Circle(detach=False, gamma=5.0, average="anchors"), circle.circle, MARKS, OTHER_MARKS
    ),
    "lifted": labelled(nf.Lifted(without_positives="zero"), lifted.lifted),
    "lifted-multi-hot": labelled(
        nf.Lifted(without_positives="count"), lifted.lifted, MARKS, OTHER_MARKS
    ),
}
CASES = {name: called.stating(scale=1.5) for name, called in CASES.items()}
FEW = ["supcr", "hard", "all-semihard"]
CANDIDATES = ["reference", "both"]


EVERY = sampled("case, candidates, framework", CASES, CANDIDATES, FRAMEWORKS.values())

NOTHING = pytest.mark.filterwarnings("ignore:no anchor of this batch")


@EVERY
def test_agrees_with_loops(framework, case, candidates):
    for reduction in ("mean", "sum", "none"):
        hold(framework, CASES[case].stating(candidates=candidates, reduction=reduction))


@EVERY
def test_float32(framework, case, candidates):
    hold(framework, CASES[case].stating(candidates=candidates), "float32")


@sampled(
    "case, candidates, backend",
    [*FEW, "pairs-multi-hot"],
    CANDIDATES,
    sorted({*BACKENDS} - {*FRAMEWORKS}),
)
def test_other_frameworks(backend, case, candidates):
    hold(BACKENDS[backend], CASES[case].stating(candidates=candidates))


@pytest.mark.long
@sampled("case, candidates, program", FEW, CANDIDATES, COMPILED)
def test_compiled(program, case, candidates):
    backend, mode = COMPILED[program]
    hold(backend, CASES[case].stating(candidates=candidates), mode=mode)


@EVERY
def test_tiles_change_nothing(framework, case, candidates):
    called = CASES[case].stating(candidates=candidates)
    for options in ({"tile": 1}, {"tile": 4}, {"memory": 1}):
        hold(framework, replace(called, loss=called.loss.with_options(**options)))


@sampled("case, candidates", CASES, CANDIDATES)
def test_threads_change_no_bit(case, candidates):
    called = CASES[case].stating(candidates=candidates)
    found = [
        called.loss.with_options(tile=3, workers=workers).value_and_grad(
            **called.embeddings, **called.facts
        )
        for workers in (1, 2)
    ]
    (value, gradients), (other, others) = found
    assert value == other
    for one, two in zip(gradients, others, strict=True):
        np.testing.assert_array_equal(one, two)


@EVERY
def test_one_gradient_alone(framework, case, candidates):
    called = CASES[case].stating(candidates=candidates)
    inputs = [framework.asarray(x) for x in called.embeddings.values()]
    facts = [framework.labels(x) for x in called.facts.values()]
    value, gradients = called.function.value_and_grad(*inputs, *facts)
    for k in (0, 1):
        again, (one,) = called.function.value_and_grad(*inputs, *facts, wrt=(k,))
        assert float(again) == float(value)
        np.testing.assert_allclose(
            framework.read(one), framework.read(gradients[k]), rtol=1e-12, atol=1e-14
        )


@NOTHING
@EVERY
def test_a_reference_of_one_row(framework, case, candidates):
    called = CASES[case].stating(candidates=candidates)
    facts = {k: v[:1] if k.startswith("reference") else v for k, v in called.facts.items()}
    embeddings = {**called.embeddings, "reference": R[:1]}
    hold(framework, replace(called, embeddings=embeddings, facts=facts))


@NOTHING
@EVERY
def test_a_batch_of_one_row(framework, case, candidates):
    called = CASES[case].stating(candidates=candidates)
    facts = {k: v if k.startswith("reference") else v[:1] for k, v in called.facts.items()}
    embeddings = {**called.embeddings, "embeddings": X[:1]}
    hold(framework, replace(called, embeddings=embeddings, facts=facts))


@NOTHING
@sampled("case, candidates, backend", CASES, CANDIDATES, BACKENDS.values())
def test_an_empty_reference(backend, case, candidates):
    """A queue that nobody has pushed to: the batch alone, or nothing at all."""
    called = CASES[case].stating(candidates=candidates)
    facts = {k: v[:0] if k.startswith("reference") else v for k, v in called.facts.items()}
    inputs = [backend.asarray(X), backend.asarray(R[:0])]
    given = [backend.labels(x) for x in facts.values()]
    value, (own, other) = backend.differentiate(called.function, inputs, *given)
    assert backend.read(other).shape == (0, 5)
    if candidates == "reference":
        assert float(value) == 0
        assert not backend.read(own).any()
        return
    alone = {k: v for k, v in called.facts.items() if not k.startswith("reference")}
    want, (gradient,) = called.loss.value_and_grad(embeddings=X, **alone)
    assert float(value) == pytest.approx(float(want), rel=1e-12)
    np.testing.assert_allclose(backend.read(own), gradient, rtol=1e-10, atol=1e-12)


@sampled(
    "case, candidates, backend",
    ["supcr", "supcr-nearer"],
    CANDIDATES,
    BACKENDS.values(),
)
def test_a_learned_temperature(backend, case, candidates):
    called = CASES[case].stating(candidates=candidates)
    named = Named(called.loss, (*called.embeddings, "temperature", *called.facts))
    temperature = called.loss.temperature

    def value(t):
        return float(called.loss(**called.embeddings, **called.facts, temperature=float(t)))

    slope = (value(temperature + 1e-5) - value(temperature - 1e-5)) / 2e-5
    if backend.differentiable:
        inputs = [backend.asarray(x) for x in (X, R, temperature)]
        facts = [backend.labels(x) for x in called.facts.values()]
        _, (*_, got) = backend.differentiate(named, inputs, *facts)
    else:
        _, (got,) = called.loss.value_and_grad(
            **called.embeddings, **called.facts, temperature=np.asarray(temperature), wrt=()
        )
    assert float(got) == pytest.approx(slope, rel=1e-6)


@NOTHING
def test_text_labels(backend):
    """Numbered together, whatever either set holds."""
    names, others = np.array([*"abc"])[LABELS % 3], np.array([*"abcd"])[OTHERS % 4]
    loss = nf.BatchTriplet(mining="hard")
    want = loss(X, LABELS % 3, R, OTHERS % 4)
    got = loss(backend.asarray(X), names, backend.asarray(R), others)
    assert float(got) == pytest.approx(float(want))
    assert loss(X, [*names], R[:0], []) == 0


def test_second_derivatives():
    torch = pytest.importorskip("torch")
    for case in ("supcr", "pairs"):
        called = CASES[case].stating(candidates="both")
        facts = [torch.tensor(x) for x in called.facts.values()]
        leaves = [torch.tensor(x, requires_grad=True) for x in (X, R)]
        assert torch.autograd.gradgradcheck(
            lambda *x, run=called.function, facts=facts: run(*x, *facts), leaves
        )


TOLD = [
    ({"reference": R}, TypeError, "reference and reference_labels together.*no reference_labels"),
    (
        {"reference_labels": OTHERS},
        TypeError,
        "reference and reference_labels together.*no reference;",
    ),
    (
        {"reference": R[:, :3], "reference_labels": OTHERS},
        ValueError,
        "reference with as many features as embeddings, 5; received 3",
    ),
    (
        {"reference": R, "reference_labels": OTHERS[:3]},
        ValueError,
        r"reference_labels of shape \(7,\).*received \(3,\)",
    ),
    (
        {"reference": R, "reference_labels": OTHER_MARKS},
        ValueError,
        "labels of one kind.*labels with 1 and reference_labels with 2 axes",
    ),
    (
        {"reference": R, "reference_labels": [*"abcdefg"]},
        TypeError,
        "labels that can be compared",
    ),
    ({"reference": R, "reference_labels": OTHERS, "log_q": np.zeros(7)}, TypeError, "log_q"),
]


@pytest.mark.parametrize(("given", "error", "words"), TOLD, ids=lambda x: getattr(x, "keys", str)())
@pytest.mark.parametrize("loss", [nf.BatchTriplet(), nf.PairMargin()], ids=str)
def test_what_is_no_reference(loss, given, error, words):
    with pytest.raises(error, match=words):
        loss(X, LABELS, **given)


def test_pairs_of_both_ends_have_no_reference():
    with pytest.raises(ValueError, match="expected no reference, since a positive is asked"):
        nf.Lifted(form="pairs")(X, LABELS, R, OTHERS)


def test_what_is_no_reference_of_targets():
    loss = nf.SupCR()
    with pytest.raises(TypeError, match="reference and reference_targets together"):
        loss(X, TARGETS, R)
    with pytest.raises(ValueError, match="as many targets a row in both"):
        loss(X, TARGETS, R, OTHER_SEVERAL)
    with pytest.raises(ValueError, match="reference_targets to be finite"):
        loss(X, TARGETS, R, np.full(7, np.nan))
    with pytest.raises(ValueError, match=r"reference to be finite.*row 2"):
        loss(X, TARGETS, np.where(np.arange(7)[:, None] == 2, np.inf, R), OTHER_TARGETS)
