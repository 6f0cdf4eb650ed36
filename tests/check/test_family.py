"""Losses that are stated by their own fields are named, as loops and as public code has them."""

import math

import pytest
from support.cases import LOSSES
from support.targets import family_samples as public

import nearfar as nf
from nearfar.check import check
from nearfar.check.identity.space import NORMALISED


def identity(fn, **given):
    return check(fn, parts=["identity"], **given)


LOOPS = [
    "MultiSimilarity", "Circle", "Lifted", "NPair", "KoLeo", "Uniformity", "Alignment", "VICReg",
    "BarlowTwins", "CoSENT", "AnglE", "SmoothAP", "ProxyNCA", "NormalizedSoftmax", "CosFace",
    "ArcFace", "SoftTriple", "ProxyAnchor",
]  # fmt: skip


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
    found = identity(fn, framework="torch").identity
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
