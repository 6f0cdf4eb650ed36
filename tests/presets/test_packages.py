"""Presets beside the packages themselves: value and gradient on random batches.

Batches are float64 rows of different norms; classes of several rows, pairs and singletons. A
package that is not installed is skipped; see CONTRIBUTING.md for how to install all of them.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest
import torch
from support.peers import lightly_loss, module, open_clip_loss, pml, st
from torch.nn.functional import normalize

import nearfar as nf

jax.config.update("jax_enable_x64", True)

TOLERANCE = 1e-6
LABELS = torch.tensor([3, 0, 0, 1, 2, 0, 1, 2, 2, 4, 2, 0])
AS_MANY_AS_CLASSES = torch.arange(9) // 3
SCORES = torch.tensor([0.1, 0.9, 0.4, 0.4, 0.0, 1.0, 0.7, 0.2, 0.2, 0.5, 0.3, 0.8])
PML, ST = "pytorch-metric-learning/", "sentence-transformers/"


@dataclass(frozen=True)
class Peer:
    """`call` makes the package's loss of arrays; `unit` rows go in where it wants them so."""

    name: str
    call: Any
    arrays: str = "views"
    fields: dict | None = None
    unit: bool = False
    normalises: bool = False  # the package does; the preset's call does it outside


def _loss(make):
    """Of rows and labels."""
    return lambda z: make()(z, LABELS)


def _n_pairs(a, b):
    rows, classes = torch.cat([a, b]), torch.arange(len(a)).repeat(2)
    plain = pml("distances").DotProductSimilarity(normalize_embeddings=False)
    return pml("losses").NPairsLoss(distance=plain)(rows, classes)


def _smooth_ap(z):
    return pml("losses").SmoothAPLoss(temperature=0.1)(z, AS_MANY_AS_CLASSES)


def _scored(name):
    return lambda x, w: st(name)(scale=5.0).compute_loss_from_embeddings([x, w], SCORES)


def _proxies(name, **how):
    """Of rows and proxies, which the package holds as a parameter of its own, or transposed."""

    def call(z, proxies):
        flat = proxies.reshape(-1, proxies.shape[-1])
        if proxies.ndim == 3:
            how["centers_per_class"] = proxies.shape[1]
        made = getattr(pml("losses"), name)(len(proxies), proxies.shape[-1], **how)
        held = "proxies" if hasattr(made, "proxies") else "W" if hasattr(made, "W") else "fc"
        del made._parameters[held]
        setattr(made, held, flat if held == "proxies" else flat.T)
        return made(z, LABELS)

    return call


def _mined(miner, loss, margin):
    def call(z):
        losses, reducers, miners = pml("losses"), pml("reducers"), pml("miners")
        chosen = miners.BatchHardMiner() if miner == "hard" else miners.TripletMarginMiner
        if miner != "hard":
            chosen = chosen(margin=margin, type_of_triplets=miner)
        how = {"reducer": reducers.MeanReducer()} if loss == "mean" else {}
        return losses.TripletMarginLoss(margin=margin, **how)(z, LABELS, chosen(z, LABELS))

    return call


def _self_supervised(inner, **how):
    def call(a, b):
        losses = pml("losses")
        return losses.SelfSupervisedLoss(getattr(losses, inner)(temperature=0.2), **how)(a, b)

    return call


def _ranking(**how):
    return lambda a, b: st("MultipleNegativesRankingLoss")(
        scale=5.0, **how
    ).compute_loss_from_embeddings([a, b], None)


def _st(name, **how):
    return lambda z: st(name)(**how).compute_loss_from_embeddings([z], LABELS)


def _pairs(z):
    i, j = torch.triu_indices(len(z), len(z), offset=1)
    same = (LABELS[i] == LABELS[j]).to(torch.int64)
    return st("ContrastiveLoss")(margin=0.5).compute_loss_from_embeddings([z[i], z[j]], same)


def _info_nce(query, key, negatives=None, **how):
    return module("info_nce").InfoNCE(temperature=0.2, **how)(query, key, negatives)


STATED = {"temperature": 0.2}
PEERS = [
    Peer(
        "lightly/NTXentLoss",
        lambda a, b: lightly_loss().NTXentLoss(temperature=0.2, memory_bank_size=0)(a, b),
        fields=STATED,
    ),
    Peer(
        "lightly/DCLLoss",
        lambda a, b: lightly_loss().DCLLoss(temperature=0.2)(a, b),
        fields=STATED,
    ),
    Peer(f"{PML}SelfSupervisedLoss(NTXentLoss)", _self_supervised("NTXentLoss"), fields=STATED),
    Peer(f"{PML}SelfSupervisedLoss(SupConLoss)", _self_supervised("SupConLoss"), fields=STATED),
    Peer(
        f"{PML}SelfSupervisedLoss(NTXentLoss):one_way",
        _self_supervised("NTXentLoss", symmetric=False),
        fields=STATED,
    ),
    Peer(
        f"{PML}SupConLoss",
        _loss(lambda: pml("losses").SupConLoss(temperature=0.2)),
        *("rows", STATED),
    ),
    Peer(
        f"{PML}NTXentLoss",
        _loss(lambda: pml("losses").NTXentLoss(temperature=0.2)),
        *("rows", STATED),
    ),
    Peer(
        f"{PML}NCALoss",
        _loss(lambda: pml("losses").NCALoss(softmax_scale=4)),
        *("rows", {"temperature": 0.25}),
        normalises=True,
    ),
    Peer(
        f"{PML}TripletMarginLoss",
        _loss(lambda: pml("losses").TripletMarginLoss(margin=0.3)),
        *("rows", {"margin": 0.3}),
        normalises=True,
    ),
    Peer(
        f"{PML}TripletMarginLoss:MeanReducer",
        _loss(
            lambda: pml("losses").TripletMarginLoss(
                margin=0.3, reducer=pml("reducers").MeanReducer()
            )
        ),
        *("rows", {"margin": 0.3}),
        normalises=True,
    ),
    Peer(
        f"{PML}TripletMarginLoss:BatchHardMiner",
        _mined("hard", "mean", 0.3),
        *("rows", {"margin": 0.3}),
        normalises=True,
    ),
    Peer(
        f"{PML}TripletMarginLoss:semihard",
        _mined("semihard", "active", 0.3),
        *("rows", {"margin": 0.3}),
        normalises=True,
    ),
    Peer(
        f"{PML}MultiSimilarityLoss",
        _loss(lambda: pml("losses").MultiSimilarityLoss(beta=20)),
        *("rows", {"beta": 20.0}),
    ),
    Peer(
        f"{PML}CircleLoss",
        _loss(lambda: pml("losses").CircleLoss(m=0.25, gamma=20)),
        *("rows", {"margin": 0.25, "gamma": 20.0}),
    ),
    Peer(
        f"{PML}LiftedStructureLoss",
        _loss(lambda: pml("losses").LiftedStructureLoss(neg_margin=0.8)),
        *("rows", {"margin": 0.8}),
        normalises=True,
    ),
    Peer(
        f"{PML}GeneralizedLiftedStructureLoss",
        _loss(lambda: pml("losses").GeneralizedLiftedStructureLoss(neg_margin=0.8)),
        *("rows", {"margin": 0.8}),
        normalises=True,
    ),
    Peer(f"{PML}NPairsLoss", _n_pairs),
    Peer(
        f"{PML}ProxyNCALoss",
        _proxies("ProxyNCALoss", softmax_scale=3),
        "proxies",
        {"temperature": 1 / 3},
    ),
    Peer(
        f"{PML}NormalizedSoftmaxLoss",
        _proxies("NormalizedSoftmaxLoss", temperature=0.2),
        "proxies",
        STATED,
    ),
    Peer(f"{PML}CosFaceLoss", _proxies("CosFaceLoss", scale=5.0), "proxies", STATED),
    Peer(f"{PML}ArcFaceLoss", _proxies("ArcFaceLoss", scale=5.0), "proxies", STATED),
    Peer(f"{PML}SoftTripleLoss", _proxies("SoftTripleLoss", la=5.0), "centres", STATED),
    Peer(f"{PML}ProxyAnchorLoss", _proxies("ProxyAnchorLoss"), "proxies"),
    Peer(f"{PML}SmoothAPLoss", _smooth_ap, "nine", {"temperature": 0.1}),
    Peer("lightly/VICRegLoss", lambda a, b: lightly_loss().VICRegLoss()(a, b)),
    Peer("lightly/BarlowTwinsLoss", lambda a, b: lightly_loss().BarlowTwinsLoss()(a, b)),
    Peer(f"{ST}CoSENTLoss", _scored("CoSENTLoss"), "scored", {"temperature": 0.2}),
    Peer(f"{ST}AnglELoss", _scored("AnglELoss"), "scored", {"temperature": 0.2}),
    Peer("info-nce-pytorch/InfoNCE", _info_nce, fields=STATED),
    Peer("info-nce-pytorch/InfoNCE", _info_nce, "queue", STATED),
    Peer(
        "info-nce-pytorch/InfoNCE",
        lambda *x: _info_nce(*x, negative_mode="paired"),
        *("own", STATED),
    ),
    Peer(f"{ST}MultipleNegativesRankingLoss", _ranking(), fields=STATED),
    Peer(
        f"{ST}MultipleNegativesRankingLoss:symmetric",
        _ranking(directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"),
        fields=STATED,
    ),
    Peer(
        f"{ST}MultipleNegativesRankingLoss:q2d+q2q",
        _ranking(directions=("query_to_doc", "query_to_query")),
        fields=STATED,
    ),
    Peer(f"{ST}BatchAllTripletLoss", _st("BatchAllTripletLoss"), "rows"),
    Peer(f"{ST}BatchAllTripletLoss", _st("BatchAllTripletLoss", margin=1.0), "rows", {"margin": 1}),
    Peer(f"{ST}BatchSemiHardTripletLoss", _st("BatchSemiHardTripletLoss"), "rows"),
    Peer(
        f"{ST}BatchSemiHardTripletLoss",
        _st("BatchSemiHardTripletLoss", margin=0.5),
        *("rows", {"margin": 0.5}),
    ),
    Peer(f"{ST}ContrastiveLoss", _pairs, "rows"),
    Peer(
        "open_clip/ClipLoss",
        lambda x, w: open_clip_loss().ClipLoss()(x, w, 5.0),
        fields=STATED,
        unit=True,
    ),
    Peer(
        "open_clip/SigLipLoss",
        lambda x, w: open_clip_loss().SigLipLoss()(x, w, 5.0, torch.tensor(-3.0)),
        fields={**STATED, "bias": -3.0},
        unit=True,
    ),
    Peer(
        "torch/TripletMarginLoss",
        lambda *x: torch.nn.TripletMarginLoss(margin=1.0, eps=0.0)(*x),
        "triplets",
    ),
]


def batch(kind, seed):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(36, 7)) * rng.uniform(0.5, 2, size=(36, 1)))
    a, b, c = x[:12], 0.5 * x[:12] + x[12:24], x[24:]
    own = torch.tensor(rng.normal(size=(12, 3, 7)))
    kinds = {
        "nine": (a[:9],),
        "views": (a, b),
        "scored": (a, b),
        "proxies": (a, c[:6]),
        "centres": (a, c.reshape(6, 2, 7)),
        "rows": (a,),
        "queue": (a, b, c[:9]),
        "own": (a, b, own),
    }
    return kinds.get(kind, (a, b, c))


def differentiated(call, arrays):
    leaves = [x.clone().requires_grad_() for x in arrays]
    value = call(*leaves)
    return value.detach().numpy(), [g.numpy() for g in torch.autograd.grad(value, leaves)]


def assert_equal(got, want):
    (value, gradients), (other, others) = got, want
    np.testing.assert_allclose(value, other, rtol=0, atol=TOLERANCE)
    for one, two in zip(gradients, others, strict=True):
        assert np.abs(two).max() > 1e-3
        np.testing.assert_allclose(one, two, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("peer", PEERS, ids=lambda p: f"{p.name}-{p.arrays}-{p.fields}")
def test_value_and_gradient(peer):
    loss = nf.preset(peer.name, **peer.fields or {})
    labels = (LABELS,) if "labels" in loss.inputs else ()
    if peer.name.endswith("SmoothAPLoss"):
        labels = (AS_MANY_AS_CLASSES,)
    if peer.arrays == "scored":
        labels = (SCORES,)

    def ours(*x):
        rows = (normalize(r, dim=1) for r in x) if peer.normalises else x
        if peer.arrays in ("proxies", "centres"):
            rows, proxies = rows
            return loss(rows, *labels, proxies)
        return loss(*rows, *labels)

    for seed in range(3):
        arrays = batch(peer.arrays, seed)
        if peer.unit:
            arrays = tuple(normalize(x, dim=1) for x in arrays)
        assert_equal(differentiated(ours, arrays), differentiated(peer.call, arrays))


def test_lightly_memory_bank():
    """Its negatives are the bank as it was before the call; the keys come in after it."""
    query, key, _ = batch("queue", 0)
    peer = lightly_loss().NTXentLoss(temperature=0.2, memory_bank_size=(20, 7))
    peer.memory_bank.bank = peer.memory_bank.bank.double()
    bank = peer.memory_bank.bank.clone()
    want = differentiated(peer, (query, key))
    assert not torch.equal(bank, peer.memory_bank.bank)
    loss = nf.preset("lightly/NTXentLoss:memory_bank", temperature=0.2)
    assert_equal(differentiated(lambda q, k: loss(q, k, bank), (query, key)), want)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["optax/ntxent", "optax/triplet_margin_loss"])
def test_optax(name, seed):
    optax = pytest.importorskip("optax")
    if name == "optax/ntxent":
        arrays, labels = batch("rows", seed), (jax.numpy.asarray(LABELS.numpy()),)
        theirs, fields = optax.losses.ntxent, {"temperature": 0.2}
        peer = fields
    else:
        arrays, labels = batch("triplets", seed), ()
        theirs, fields, peer = optax.losses.triplet_margin_loss, {}, {"eps": 0.0}
    loss = nf.preset(name, **fields)
    weights = jax.numpy.arange(1.0, 13.0)

    def gradient(call, **how):
        def total(*x):
            return (call(*x, *labels, **how) * (weights if not labels else 1.0)).sum()

        numbers = tuple(range(len(arrays)))
        value, gradients = jax.value_and_grad(total, numbers)(*given)
        return np.asarray(value), [np.asarray(g) for g in gradients]

    given = [jax.numpy.asarray(x.numpy()) for x in arrays]
    assert_equal(gradient(loss), gradient(theirs, **peer))


@pytest.mark.parametrize("margin", [0.4, 0.25])
def test_keras(margin):
    """Keras keeps float32 inside a loss, unless it is told another dtype."""
    keras = pytest.importorskip("keras")
    import tensorflow as tf

    peer = keras.losses.Circle(gamma=20.0, margin=margin, dtype="float64")
    loss = nf.preset("keras/Circle", gamma=20.0, margin=margin)

    def gradient(call):
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = call(given)
        return value.numpy(), [tape.gradient(value, given).numpy()]

    for seed in range(3):
        given = tf.constant(normalize(batch("rows", seed)[0], dim=1).numpy())
        assert_equal(
            gradient(lambda z: loss(z, LABELS.numpy())),
            gradient(lambda z: peer(LABELS.numpy(), z)),
        )
