"""Anchors that weigh differently: `sample_weight=` at the call."""

import numpy as np
import pytest
from oracles import batchtriplet, pairmargin, siglip, supcr, triplet
from support.backends import BACKENDS, COMPILED
from support.called import Called, hold
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(3)
X, Y, Z = (RNG.normal(size=(9, 4)) for _ in range(3))
LABELS = np.array([2, 0, 2, 1, 0, 2, 5, 0, 1])
TARGETS = RNG.integers(0, 6, 9) / 2
WEIGHTS = RNG.uniform(0, 2, 9)
WEIGHTS[4] = 0


def labelled(loss, oracle):
    return Called(loss, oracle, {"embeddings": X}, {"labels": LABELS, "sample_weight": WEIGHTS})


CASES = {
    "supcr": Called(
        nf.SupCR(), supcr.supcr, {"embeddings": X}, {"targets": TARGETS, "sample_weight": WEIGHTS}
    ),
    "batchtriplet": labelled(nf.BatchTriplet(margin=1.0), batchtriplet.batchtriplet),
    "batchtriplet-zero": labelled(
        nf.BatchTriplet(margin=1.0, without_positives="zero", count="all"),
        batchtriplet.batchtriplet,
    ),
    "batchtriplet-hard": labelled(nf.BatchTriplet(mining="hard"), batchtriplet.batchtriplet),
    "pairmargin": labelled(nf.PairMargin(margin=3.0), pairmargin.pairmargin),
    "siglip": Called(
        nf.SigLIP(bias=-2.0, temperature=0.5),
        siglip.siglip,
        {"x": X, "y": Y},
        {"sample_weight": WEIGHTS},
    ),
    "triplet": Called(
        nf.Triplet(margin=2.0),
        triplet.triplet,
        {"anchor": X, "positive": Y, "negative": Z},
        {"sample_weight": WEIGHTS},
    ),
}
CASES = {name: case.stating(scale=1.5) for name, case in CASES.items()}
EVERY = pytest.mark.parametrize("case", CASES)


@sampled(
    "case, backend, reduction",
    CASES,
    BACKENDS.values(),
    ["mean", "sum", "none"],
)
def test_agrees_with_loops(case, backend, reduction):
    hold(backend, CASES[case].stating(reduction=reduction))


@EVERY
def test_float32(backend, case):
    hold(backend, CASES[case], "float32")


@pytest.mark.long
@pytest.mark.parametrize("program", COMPILED)
@pytest.mark.parametrize("case", ["batchtriplet-zero", "triplet"])
def test_compiled(program, case):
    backend, mode = COMPILED[program]
    hold(backend, CASES[case], mode=mode)


@EVERY
def test_tiles_change_nothing(framework, case):
    called = CASES[case]
    for options in ({"tile": 1}, {"tile": 4}):
        tiled = Called(
            called.loss.with_options(**options), called.oracle, called.embeddings, called.facts
        )
        hold(framework, tiled)


@EVERY
def test_equal_weights_are_none(case):
    called = CASES[case]
    alike = {**called.facts, "sample_weight": np.full(9, 0.25)}
    without = {k: v for k, v in called.facts.items() if k != "sample_weight"}
    loss, given = called.loss, called.embeddings
    assert float(loss(**given, **alike)) == pytest.approx(float(loss(**given, **without)))


@EVERY
def test_no_weight_at_all_is_zero(backend, case):
    called = CASES[case]
    inputs = [backend.asarray(x) for x in called.embeddings.values()]
    facts = [
        backend.labels(np.zeros(9) if name == "sample_weight" else x)
        for name, x in called.facts.items()
    ]
    value, gradients = backend.differentiate(called.function, inputs, *facts)
    assert float(value) == 0
    for gradient in gradients:
        assert not backend.read(gradient).any()


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.ones(8), ValueError, r"sample_weight of shape \(9,\).*received \(8,\)"),
        (np.ones((9, 1)), ValueError, r"sample_weight of shape \(9,\).*received \(9, 1\)"),
        (-WEIGHTS, ValueError, r"sample_weight from 0 on; received -.*row \d"),
        (np.where(WEIGHTS, WEIGHTS, np.nan), ValueError, r"sample_weight to be finite.*row 4"),
        (["a"] * 9, TypeError, "sample_weight to hold real numbers"),
    ],
)
@EVERY
def test_weights_that_are_none(case, weights, error, words):
    called = CASES[case]
    with pytest.raises(error, match=words):
        called.loss(**called.embeddings, **{**called.facts, "sample_weight": weights})


def test_lists_and_other_dtypes_are_weights():
    called = CASES["pairmargin"]
    weights = [1, 0, 2, 1, 1, 3, 0, 1, 1]
    value = called.loss(**called.embeddings, **{**called.facts, "sample_weight": weights})
    assert isinstance(value, np.float64)
    exact = Called(
        called.loss, called.oracle, called.embeddings, {**called.facts, "sample_weight": weights}
    ).exact()
    assert value == pytest.approx(exact)
    for backend in BACKENDS.values():
        x = backend.asarray(X, "float32")
        got = called.loss(x, backend.labels(LABELS), sample_weight=weights)
        assert backend.dtype(got) == "float32"
        assert float(got) == pytest.approx(exact, rel=1e-5)
