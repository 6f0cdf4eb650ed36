"""SigLIP with ids on its sides, and with negatives that are left out."""

from dataclasses import replace

import numpy as np
import pytest
from oracles import siglip
from oracles.candidates import Exclusion
from support.backends import BACKENDS, COMPILED, FRAMEWORKS
from support.called import Called, Named, hold

import nearfar as nf

RNG = np.random.default_rng(8)
X, Y = RNG.normal(size=(9, 5)), RNG.normal(size=(9, 5))
Y[::2] += X[::2]
LONG = RNG.normal(size=(13, 5))
IDS = np.array([3, 1, 3, 4, 1, 0, 3, 2, 0])
MORE = np.array([0, 1, 1, 3, 7, 2, 2, 3, 0, 1, 4, 3, 7])  # 7 is in no other row
OURS, THEIRS = X + RNG.normal(size=X.shape), Y + RNG.normal(size=Y.shape)
WEIGHTS = RNG.uniform(0, 2, 9)
LOSS = nf.SigLIP(bias=-2.0, temperature=0.4)


def called(facts, y=Y, **fields):
    def oracle(**stated):
        exclude = stated.pop("exclude")
        exclusion = exclude and Exclusion(exclude.by, exclude.margin, exclude.kind)
        return siglip.siglip(**stated, exclude=exclusion)

    return Called(replace(LOSS, **fields), oracle, {"x": X, "y": y}, facts)


GUIDE = {"guide.0": OURS, "guide.1": THEIRS}
PAIR = {"ids.0": IDS, "ids.1": MORE}
CASES = {
    "positive": called({"ids": IDS}),
    "ignore": called({"ids": IDS, "sample_weight": WEIGHTS}, same="ignore"),
    "negative": called({"ids": IDS}, same="negative"),
    "pair": called({**PAIR, "sample_weight": WEIGHTS}, LONG),
    "pair-ignore": called({"ids.0": IDS, "ids.1": MORE[:9]}, same="ignore"),
    "self": called({}, exclude=nf.Exclude(by="self", margin=0.2)),
    "self-relative": called({}, exclude=nf.Exclude(by="self", margin=0.3, kind="relative")),
    "self-far": called({}, exclude=nf.Exclude(by="self", margin=-0.1), similarity="neg_euclidean"),
    "self-positive": called({"ids": IDS}, exclude=nf.Exclude(by="self")),
    "self-ignore": called({"ids": IDS}, exclude=nf.Exclude(by="self"), same="ignore"),
    "self-pair": called(PAIR, LONG, exclude=nf.Exclude(by="self"), similarity="dot"),
    "guide": called(GUIDE, exclude=nf.Exclude(margin=0.1)),
    "guide-relative": called(
        {"ids": IDS, "sample_weight": WEIGHTS, **GUIDE},
        exclude=nf.Exclude(margin=0.4, kind="relative"),
    ),
}
FEW = ["pair", "self-ignore", "guide-relative"]
CASES = {name: case.stating(scale=1.5) for name, case in CASES.items()}
EVERY = pytest.mark.parametrize("case", CASES)


@EVERY
def test_agrees_with_loops(framework, case):
    for reduction in ("mean", "sum", "none"):
        hold(framework, CASES[case].stating(reduction=reduction))


@EVERY
def test_float32(framework, case):
    hold(framework, CASES[case], "float32")


@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("backend", sorted({*BACKENDS} - {*FRAMEWORKS}))
def test_other_frameworks(backend, case):
    hold(BACKENDS[backend], CASES[case])


@pytest.mark.long
@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("program", COMPILED)
def test_compiled(program, case):
    backend, mode = COMPILED[program]
    hold(backend, CASES[case], mode=mode)


@EVERY
def test_tiles_change_nothing(framework, case):
    for options in ({"tile": 1}, {"tile": 4}, {"memory": 1}):
        hold(framework, replace(CASES[case], loss=CASES[case].loss.with_options(**options)))


@pytest.mark.parametrize("case", ["self-ignore", "pair"])
def test_learned_temperature_and_bias(backend, case):
    case = CASES[case]
    stated = {"temperature": 0.4, "bias": -2.0}
    slopes = []
    facts = Named(dict, tuple(case.facts))(*case.facts.values())
    for name, stated_value in stated.items():
        ends = [
            float(case.loss(**case.embeddings, **facts, **{name: stated_value + step}))
            for step in (1e-5, -1e-5)
        ]
        slopes.append((ends[0] - ends[1]) / 2e-5)
    named = Named(case.loss, (*case.embeddings, *stated, *case.facts))
    arrays = [backend.asarray(x) for x in (*case.embeddings.values(), *stated.values())]
    facts = [backend.labels(x) for x in case.facts.values()]
    _, found = backend.differentiate(named, arrays, *facts)
    assert [float(x) for x in found[-2:]] == pytest.approx(slopes, rel=1e-5)


def test_somebody_is_left_out():
    """The cases would agree with loops as well if nobody were."""
    whole = float(LOSS(X, Y))
    for name in ("self", "self-relative", "guide", "ignore", "positive"):
        case = CASES[name]
        assert abs(float(case.exact()) - whole) > 1e-3, name


def test_equal_ids_of_no_row_are_as_no_ids(backend):
    x, y = backend.asarray(X), backend.asarray(Y)
    for same in ("positive", "ignore", "negative"):
        got = replace(LOSS, same=same)(x, y, backend.labels(np.arange(9)))
        assert float(got) == pytest.approx(float(LOSS(X, Y)), rel=1e-12)


def test_text_ids():
    names = np.array([*"abcde"])
    assert LOSS(X, Y, [*names[IDS]]) == LOSS(X, Y, IDS)


TOLD = [
    (LOSS, {"y": LONG}, ValueError, r"x and y of one shape"),
    (LOSS, {"ids": IDS[:4]}, ValueError, r"ids of shape \(9,\).*received \(4,\)"),
    (LOSS, {"ids": (IDS, MORE)}, ValueError, r"ids.1 of shape \(9,\).*received \(13,\)"),
    (LOSS, {"ids": np.where(IDS, IDS, np.nan)}, ValueError, "ids without NaN"),
    (LOSS, {"log_q": np.zeros(9)}, TypeError, r"SigLIP is called with \(x, y, ids=None\).*log_q"),
    (LOSS, {"guide": (OURS, THEIRS)}, TypeError, "no guide without a field"),
    (
        replace(LOSS, exclude=nf.Exclude()),
        {},
        TypeError,
        r"expected guide with Exclude.*pass guide=, or by=",
    ),
    (
        replace(LOSS, exclude=nf.Exclude()),
        {"guide": (OURS, THEIRS[:4])},
        ValueError,
        r"guide of shape \(9, e\) beside y; received \(4, 5\)",
    ),
    (replace(LOSS, same="ignore"), {"y": LONG, "ids": (IDS, MORE)}, ValueError, "one shape"),
]


@pytest.mark.parametrize(("loss", "given", "error", "words"), TOLD, ids=lambda x: str(x)[:40])
def test_bad_input(loss, given, error, words):
    with pytest.raises(error, match=words):
        loss(**{"x": X, "y": Y, **given})


def test_no_kernel_takes_such_a_call():
    torch = pytest.importorskip("torch")
    x, y, ids = torch.tensor(X), torch.tensor(Y), torch.tensor(IDS)
    for facts in ({"ids": ids}, {"sample_weight": torch.tensor(WEIGHTS)}):
        with pytest.raises(ValueError, match="a fused kernel takes"):
            LOSS.with_options(kernel="fused")(x, y, **facts)
        assert nf.kernels.fits(LOSS, x, y, **facts)[0] is False


def test_second_derivatives():
    torch = pytest.importorskip("torch")
    for name in ("pair", "self-ignore"):
        case = CASES[name]
        facts = [torch.tensor(x) for x in case.facts.values()]
        leaves = [torch.tensor(x, requires_grad=True) for x in case.embeddings.values()]
        assert torch.autograd.gradgradcheck(
            lambda *x, run=case.function, facts=facts: run(*x, *facts), leaves
        )
