"""What a call cannot mean is refused in one sentence that names the argument and the remedy."""

import numpy as np
import pytest
from candidates.calls import GUIDE, IDS, LONGER, OWN, QUEUE, VALID, YR, A, B, R, X, Y

import nearfar as nf

GUIDED = nf.Exclude(margin=0.1)
NAN = np.array([np.nan, *np.ones(7)])

REFUSED = {
    "sides of two lengths": (nf.CLIP(), (A, LONGER), {}, "x and y of one shape"),
    "and one list of ids": (nf.CLIP(), (A, LONGER, IDS), {}, "x and y of one shape"),
    "no value for each": (
        nf.CLIP(reduction="none"),
        (A, LONGER, (IDS, np.arange(10))),
        {},
        "sides of one length",
    ),
    "ids of another length": (nf.CLIP(), (A, B, IDS[1:]), {}, "ids of shape"),
    "ids of two axes": (nf.NTXent(), (A, B, IDS[:, None]), {}, "ids of shape"),
    "a pair for views": (nf.NTXent(), (A, B, (IDS, IDS)), {}, "a pair of arrays"),
    "missing ids": (nf.NTXent(), (A, B, NAN), {}, "each an id of its own"),
    "reference alone": (nf.SupCon(), (X, Y, R), {}, "no reference_labels"),
    "labels alone": (nf.SupCon(), (X, Y, None, YR), {}, "no reference"),
    "narrow reference": (nf.SupCon(), (X, Y, R[:, 1:], YR), {}, "as many features"),
    "labels of two kinds": (nf.SupCon(), (X, Y, R, np.eye(9)), {}, "labels of one kind"),
    "text and numbers": (nf.SupCon(), (X, list("abcdefghijklm"), R, YR), {}, "can be compared"),
    "nobody is itself": (nf.SupCon(include_self=True), (X, Y, R, YR), {}, "include_self=False"),
    "no guide": (nf.CLIP(exclude=GUIDED), (A, B), {}, "expected guide"),
    "a guide for nothing": (nf.CLIP(), (A, B), {"guide": (A, B)}, "no guide"),
    "one guide": (nf.CLIP(exclude=GUIDED), (A, B), {"guide": GUIDE["a"]}, "guide as 2 arrays"),
    "a short guide": (
        nf.CLIP(exclude=GUIDED),
        (A, B),
        {"guide": (GUIDE["a"][1:], GUIDE["b"])},
        "guide of shape",
    ),
    "guides of two widths": (
        nf.CLIP(exclude=GUIDED),
        (A, B),
        {"guide": (GUIDE["a"][:, 1:], GUIDE["b"])},
        "as many features",
    ),
    "negative weights": (nf.CLIP(), (A, B), {"sample_weight": -np.ones(8)}, "from 0 on"),
    "NaN weights": (nf.CLIP(), (A, B), {"sample_weight": NAN}, "finite"),
    "too few weights": (nf.CLIP(), (A, B), {"sample_weight": np.ones(7)}, "shape (8,)"),
    "text for weights": (nf.CLIP(), (A, B), {"sample_weight": list("abcdefgh")}, "real numbers"),
    "probabilities": (nf.CLIP(), (A, B), {"log_q": (np.ones(8), np.ones(8))}, "at most 0"),
    "one log_q": (nf.CLIP(), (A, B), {"log_q": -np.ones(8)}, "log_q as 2 arrays"),
    "valid for shared": (nf.InfoNCE(), (A, B, QUEUE, None, None, VALID), {}, "(N, K, d)"),
    "valid of another shape": (nf.InfoNCE(), (A, B, OWN, None, None, VALID[:, 1:]), {}, "(8, 3)"),
    "valid of numbers": (
        nf.InfoNCE(),
        (A, B, OWN, None, None, VALID + 0.5),
        {},
        "valid of Booleans",
    ),
    "a narrow queue": (nf.InfoNCE(), (A, B, None, QUEUE[:, 1:]), {}, "queue of shape"),
    "nobody to compare with": (nf.InfoNCE(in_batch="never"), (A, B), {}, "negatives or a queue"),
    "another keyword": (nf.CLIP(), (A, B), {"weights": np.ones(8)}, "is called with"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    loss, given, named, says = REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as error:
        loss(*given, **named)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


FIELDS = {
    "directions": (nf.InfoNCE, {"directions": ("qp", "qp")}, "each once"),
    "no direction": (nf.InfoNCE, {"directions": ()}, "a tuple out of"),
    "text": (nf.InfoNCE, {"directions": "qp"}, "a tuple out of"),
    "exclude": (nf.CLIP, {"exclude": "guide"}, "nearfar.Exclude"),
    "by": (nf.Exclude, {"by": "ids"}, "by to be one of"),
    "margin": (nf.Exclude, {"margin": np.inf}, "margin"),
    "kind": (nf.Exclude, {"kind": "share"}, "kind to be one of"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_refused(name):
    cls, fields, says = FIELDS[name]
    with pytest.raises((TypeError, ValueError)) as error:
        cls(**fields)
    assert says in str(error.value)


def test_weights_of_nothing_give_zero():
    value, gradients = nf.CLIP().value_and_grad(A, B, sample_weight=np.zeros(8))
    assert value == 0
    assert all((g == 0).all() for g in gradients)


def test_an_exclusion_that_leaves_nothing_gives_zero():
    loss = nf.DCL(exclude=nf.Exclude(by="self", margin=10.0))
    with pytest.warns(UserWarning, match="no anchor of this batch"):
        value, _ = loss.value_and_grad(A, B)
    assert value == 0


def test_round_trip():
    loss = nf.InfoNCE(directions=("qp", "pp"), exclude=nf.Exclude(by="self", margin=-0.1))
    assert nf.loss_from_dict(loss.to_dict()) == loss
    assert hash(loss) == hash(nf.loss_from_dict(loss.to_dict()))
    assert "Exclude(by='self', margin=-0.1" in repr(loss)
