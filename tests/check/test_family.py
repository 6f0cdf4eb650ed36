"""Losses that are stated by their own fields are named, as loops and as public code has them."""

import math

import pytest
from support.cases import LOSSES
from support.targets import family_samples as public
from support.targets import meeting_samples as meeting

import nearfar as nf
from nearfar.check import check
from nearfar.check.identity.space import NORMALISED
from nearfar.check.identity.space.stated import WRONG_AXIS


def identity(fn, **given):
    return check(fn, parts=["identity"], **given)


LOOPS = [
    "MultiSimilarity", "Circle", "Lifted", "NPair", "KoLeo", "Uniformity", "Alignment", "VICReg",
    "BarlowTwins", "CoSENT", "AnglE", "SmoothAP", "ProxyNCA", "NormalizedSoftmax", "CosFace",
    "ArcFace", "SoftTriple", "ProxyAnchor",
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", LOOPS)
def test_plain_loops_are_named(name):
    loops = LOSSES[name].loops
    found = identity(lambda *inputs: loops(*inputs), framework="numpy").identity
    assert found.sure
    assert found.statement.loss == getattr(nf, name)()
    assert not found.statement.changes


PUBLIC = {
    public.MultiSimilarity: nf.MultiSimilarity(),
    public.mined_similarity: nf.MultiSimilarity(beta=40.0, mining=0.1),
    public.circle: nf.Circle(),
    public.smooth_ap: nf.SmoothAP(),
    public.barlow: nf.BarlowTwins(),
    public.VICReg: nf.VICReg(),
    public.koleo: nf.KoLeo(),
    public.uniform_loss: nf.Uniformity(),
    public.align_loss: nf.Alignment(),
    public.cosine_softmax: nf.CosFace(),
    public.angular: nf.ArcFace(margin=math.radians(28.6)),
    public.proxy_nca: nf.ProxyNCA(temperature=1.0),
    public.proxy_anchor: nf.ProxyAnchor(),
    public.soft_triple: nf.SoftTriple(),
    public.cosent: nf.CoSENT(),
    public.ranked_by_cosine: nf.CoSENT(),
}


@pytest.mark.parametrize("fn", PUBLIC, ids=lambda fn: fn.__name__)
def test_public_code_is_named(fn):
    # Views with targets are tried first, in which it takes longest to find that nothing fits.
    call = "scored" if fn is public.ranked_by_cosine else None
    found = identity(fn, framework="torch", call=call).identity
    assert found.sure, found
    assert not found.statement.changes
    assert type(found.statement.loss) is type(PUBLIC[fn])
    for name, value in PUBLIC[fn].to_dict().items():
        assert found.statement.loss.to_dict()[name] == pytest.approx(value), name


def test_rows_that_are_normalised_first_are_told():
    found = identity(public.lifted, framework="torch")
    assert found.identity.statement.loss == nf.Lifted(form="pairs")
    assert found.identity.statement.changes == (NORMALISED,)
    assert "pytorch-metric-learning/LiftedStructureLoss" in found.implementations


MEETING = {
    meeting.hard_negatives: nf.InfoNCE(temperature=0.05, in_batch="always", own="all"),
    meeting.guided: nf.InfoNCE(temperature=0.05, exclude=nf.Exclude(by="guide")),
    meeting.gist: nf.InfoNCE(
        temperature=0.05,
        in_batch="always",
        own="all",
        directions=("qp", "qq", "pp"),
        exclude=nf.Exclude(by="guide"),
    ),
    meeting.unified: nf.CLIP(temperature=0.1, scale=2.0),
    meeting.retrieval: nf.InfoNCE(temperature=1.0, similarity="dot", reduction="sum"),
    meeting.with_memory: nf.SupCon(),
    meeting.kernel_weights: nf.SoftContrastive(weights="rbf"),
    meeting.overlap: nf.SoftContrastive(weights="jaccard", normalise="positives"),
}
CALLED = {
    meeting.hard_negatives: "negatives",
    meeting.guided: "guided",
    meeting.gist: "guided_negatives",
    meeting.unified: "ids",
    meeting.retrieval: "ids",
    meeting.with_memory: "reference",
    meeting.overlap: "marks",
}


# Their forms have most who could meet, and are in turn tried last.
SLOW = (meeting.with_memory, meeting.gist, meeting.unified)


@pytest.mark.parametrize(
    "fn",
    [pytest.param(fn, marks=[pytest.mark.long] * (fn in SLOW)) for fn in MEETING],
    ids=lambda fn: fn.__name__,
)
def test_who_meets_whom_is_named(fn):
    found = identity(fn, framework="numpy", call=CALLED.get(fn)).identity
    assert found.sure
    assert not found.statement.changes
    assert found.statement.loss == MEETING[fn]


def test_a_filter_that_filters_nothing_is_a_fault():
    report = identity(meeting.retrieval_by_nothing, framework="numpy", call="ids")
    assert report.identity.statement.loss.same == "negative"
    assert any("does not depend on the ids" in f.text for f in report.faults)


def test_a_kernel_normalised_along_the_wrong_axis_is_named():
    found = identity(meeting.kernel_along_the_wrong_axis, framework="numpy", call="targets")
    assert found.identity.sure
    assert found.identity.statement.loss == nf.SoftContrastive(weights="rbf")
    assert found.identity.statement.changes == (WRONG_AXIS,)
    assert found.exit_code == 1
