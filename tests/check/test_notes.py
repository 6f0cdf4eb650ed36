"""Losses of notes, and twenty by other hands: none is named wrong and sure."""

from pathlib import Path

import numpy as np
import pytest
from support.targets import twenty

import nearfar as nf
from nearfar.check import check

NOTES = Path(twenty.__file__).parent / "notes"


@pytest.mark.parametrize(
    ("target", "loss", "changes", "code"),
    [
        pytest.param(
            "supcr_numpy.py:supcr_as_printed",
            nf.SupCR(order="nearer"),
            ("the anchor counts as its own positive",),
            1,
            marks=pytest.mark.long,
        ),
        ("supcr_numpy.py:supcr", nf.SupCR(), (), 0),
        (
            "triplets_numpy.py:euclidean_triplet",
            nf.Triplet(margin=1.0, distance="euclidean"),
            (),
            0,
        ),
        ("triplets_numpy.py:squared_triplet", nf.Triplet(), (), 0),
        (
            "triplets_numpy.py:manhattan_triplet",
            nf.Triplet(margin=1.0, distance="cityblock"),
            (),
            0,
        ),
        ("triplets_numpy.py:cosine_triplet", nf.Triplet(margin=0.5, distance="cosine"), (), 0),
        pytest.param("infonce_torch.py:moco", nf.InfoNCE(), (), 0, marks=pytest.mark.long),
        # The pseudo-code's weights are the code's at a beta of 1 alone.
        pytest.param(
            "infonce_torch.py:hcl_pseudocode",
            nf.HCL(),
            ("its beta works otherwise: the two agree where it is 1",),
            1,
            marks=pytest.mark.long,
        ),
        ("ntxent_numpy.py:nt_xent", nf.NTXent(), (), 0),
        ("ntxent_tensorflow.py:nt_xent", nf.NTXent(scale=2.0), (), 0),
    ],
)
def test_losses_of_notes(target, loss, changes, code):
    report = check(str(NOTES / target), parts=["identity"])
    found = report.identity
    assert found.sure, report
    assert (found.statement.loss, found.statement.changes) == (loss, changes)
    assert report.exit_code == code


@pytest.mark.long  # it is tried in every form
def test_an_epsilon_in_a_note_is_not_taken_for_a_convention():
    found = check(str(NOTES / "supcon_torch.py:SupervisedContrastiveLoss"), parts=["identity"])
    assert found.identity.statement is None or found.identity.small


# What each is: a loss, and a word of each change; None: no loss of nearfar.
TRUTH = {
    twenty.simclr: (nf.NTXent(temperature=0.1), ()),
    twenty.nce_sum: (nf.InfoNCE(temperature=0.2, reduction="sum"), ()),
    twenty.OneWayClip: (nf.InfoNCE(temperature=float(np.exp(-2.0))), ()),
    twenty.align_and_spread: None,
    twenty.barlow: None,
    twenty.facenet: (nf.Triplet(margin=0.2), ("normalised first",)),
    twenty.npair: None,
    twenty.supcon_with_itself: (nf.SupCon(temperature=0.5, include_self="positive"), ()),
    twenty.lifted: (nf.Lifted(margin=1.0, form="pairs"), ()),
    twenty.multi_similarity: (nf.MultiSimilarity(), ()),
    twenty.hadsell_upside_down: None,
    twenty.circle: None,
    twenty.nca: (
        nf.SupCon(temperature=1.0, similarity="neg_sqeuclidean", positives="log_sum"),
        (),
    ),
    twenty.nca_as_printed: None,
    twenty.soft_hard: (
        nf.BatchTriplet(margin=0.0, distance="euclidean", mining="hard"),
        ("softplus", "an anchor without positives counts"),
    ),
    twenty.sigmoid_mean: (nf.SigLIP(), ("anchors squared",)),
    twenty.tempered_twice: (nf.NTXent(), ("used twice",)),
    twenty.vicreg: None,
    twenty.centres: None,
    twenty.attracted_to_far: (
        nf.InfoNCE(temperature=0.5, similarity="neg_euclidean"),
        ("wrong sign",),
    ),
}


# Those that are no loss of these are tried in every form, which takes longest.
SLOW = [pytest.param(fn, marks=pytest.mark.long) for fn, truth in TRUTH.items() if truth is None]
QUICK = [fn for fn, truth in TRUTH.items() if truth is not None]


@pytest.mark.parametrize("fn", [*QUICK, *SLOW], ids=lambda fn: fn.__name__)
def test_nothing_wrong_is_said_for_sure(fn):
    found = check(fn, parts=["identity"]).identity
    if not found.sure or found.statement is None:
        return
    assert TRUTH[fn] is not None, found.statement
    loss, words = TRUTH[fn]
    assert type(found.statement.loss) is type(loss)
    for name, value in loss.to_dict().items():
        own = found.statement.loss.to_dict()[name]
        assert own == (pytest.approx(value) if isinstance(value, float) else value), name
    assert len(found.statement.changes) == len(words), found.statement
    assert all(w in c for w, c in zip(words, found.statement.changes, strict=True))
