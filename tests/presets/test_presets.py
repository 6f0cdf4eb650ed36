"""Presets: their names, the figures of the implementations, and what the table says."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from oracles.figures import A, B
from oracles.implementations import IMPLEMENTATIONS, MOCO_V3

import nearfar as nf

ROWS = nf.presets.table()
COVERED = [row for row in ROWS if row.loss is not None]
RUN_IN_TEST_PACKAGES = {
    "open_clip/SigLipLoss",
    "lightly/NTXentLoss:memory_bank",
    "torch/TripletMarginLoss",
    "optax/triplet_margin_loss",
    "pytorch-metric-learning/TripletMarginLoss:semihard",
    "pytorch-metric-learning/MultiSimilarityLoss",
    "pytorch-metric-learning/CircleLoss",
    "pytorch-metric-learning/ProxyNCALoss",
    "pytorch-metric-learning/NormalizedSoftmaxLoss",
    "pytorch-metric-learning/CosFaceLoss",
    "pytorch-metric-learning/ArcFaceLoss",
    "pytorch-metric-learning/SoftTripleLoss",
    "pytorch-metric-learning/ProxyAnchorLoss",
    "pytorch-metric-learning/SmoothAPLoss",
    "lightly/VICRegLoss",
    "lightly/BarlowTwinsLoss",
    "sentence-transformers/CoSENTLoss",
    "sentence-transformers/AnglELoss",
    "pytorch-metric-learning/LiftedStructureLoss",
    "pytorch-metric-learning/GeneralizedLiftedStructureLoss",
    "pytorch-metric-learning/NPairsLoss",
    "sentence-transformers/BatchSemiHardTripletLoss",
    "sentence-transformers/MultipleNegativesRankingLoss:hard_negatives",
    "sentence-transformers/MultipleNegativesRankingLoss:all_directions",
    "sentence-transformers/GISTEmbedLoss",
    "sentence-transformers/GISTEmbedLoss:relative",
    "pytorch-metric-learning/SupConLoss:ref_emb",
    "pytorch-metric-learning/NTXentLoss:ref_emb",
    "keras/Circle",
    "pytorch-metric-learning/CrossBatchMemory(SupConLoss)",
    "tensorflow-recommenders/Retrieval:remove_accidental_hits",
}


@pytest.mark.parametrize("figure", IMPLEMENTATIONS, ids=lambda f: f"{f.name}-{f.value}")
def test_published_figure(framework, figure):
    inputs = [
        framework.labels(x) if isinstance(x, list) else framework.asarray(x) for x in figure.inputs
    ]
    value = nf.preset(figure.name, **figure.fields)(*inputs)
    assert abs(float(value) - figure.value) <= figure.within()


def test_moco_v3(framework):
    a, b = framework.asarray(A), framework.asarray(B)
    for temperature, value in MOCO_V3:
        loss = nf.preset("moco-v3", temperature=temperature)
        assert abs(float(loss(a, b)) + float(loss(b, a)) - value) < 5.1e-7


def test_evidence_is_what_the_tests_hold():
    """A value that was run or calculated is among the figures, or run beside its package."""
    shown = {figure.name for figure in IMPLEMENTATIONS} | {"moco-v3"}
    for row in COVERED:
        seen = row.name in shown or row.name in RUN_IN_TEST_PACKAGES
        assert seen == (row.evidence != "read"), row.name


def test_names_are_unique_whatever_their_case():
    assert len({row.name.lower() for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", COVERED, ids=lambda row: row.name)
def test_covered(row):
    loss = nf.preset(row.name.upper())
    assert loss == row.loss
    assert nf.loss_from_dict(json.loads(json.dumps(loss.to_dict()))) == loss
    text = str(row)
    for part in (row.version, row.source, row.differs, row.original, row.call, row.inputs):
        assert part
        assert part in text
    assert all(trap in text for trap in row.traps)
    assert repr(loss) in text
    rng = np.random.default_rng(0)
    known = {k: rng.normal(size=(6, 4)) for k in ("a", "b", "z", "q", "k", "x", "w")}
    known |= {k: rng.normal(size=(6, 4)) for k in ("q1", "q2", "k1", "k2", "queue")}
    known |= {k: rng.normal(size=(6, 4)) for k in ("anchor", "positive", "negative")}
    known |= {"f": rng.normal(size=(3, 2, 4)), "y": [0, 0, 0, 1, 1, 2], "t": rng.normal(size=6)}
    known |= {k: rng.normal(size=(6, 2, 4)) for k in ("n", "gn")}
    known |= {k: rng.normal(size=(6, 4)) for k in ("gq", "gk", "r")} | {"yr": [2, 2, 1, 0, 0, 0]}
    known |= {"ids": [3, 1, 3, 2, 1, 5], "probability": rng.uniform(0.1, 1, 6)}
    known |= {"p": rng.normal(size=(3, 4)), "c": rng.normal(size=(3, 2, 4))}
    value = eval(row.call, {"loss": loss, "np": np, "B": 3, **known})
    assert np.all(np.isfinite(value))


@pytest.mark.parametrize("row", [r for r in ROWS if r.loss is None], ids=lambda row: row.name)
def test_not_covered(row):
    assert row.reason in str(row)
    with pytest.raises(ValueError, match="not covered yet") as raised:
        nf.preset(row.name)
    assert row.reason in str(raised.value)


def test_unknown_names_give_the_nearest():
    with pytest.raises(ValueError, match="'pytorch-metric-learning/NTXentLoss'"):
        nf.preset("pytorch-metric-learning/NTXentLos")
    with pytest.raises(ValueError, match="'pytorch-metric-learning/NCALoss'"):
        nf.preset("ncaloss")


def test_fields():
    loss = nf.preset("google-research/supcon", positives="log_mean", temperature=0.3)
    assert loss == nf.preset("google-research/supcon:inside", temperature=0.3)
    with pytest.raises(TypeError, match=r"Triplet.*margin.*received temperature"):
        nf.preset("torch/TripletMarginLoss", temperature=0.1)
    with pytest.raises(ValueError, match="temperature"):
        nf.preset("optax/ntxent", temperature=0.0)


def test_table():
    assert isinstance(ROWS, list)
    lines = str(ROWS).splitlines()
    assert len(lines) == len(ROWS)
    assert lines[0].split() == ["lightly/NTXentLoss", "NTXent", "1.6.0"]
    record = json.loads(json.dumps(ROWS.to_dict()))["optax/ntxent"]
    assert record["loss"]["denominator"] == "own_positive"
    assert record["version"] == "0.2.8"
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROWS[0].name = "mine"
    ROWS.copy().clear()
    nf.presets.table().clear()
    assert nf.presets.table() == ROWS


@pytest.mark.parametrize(
    "name",
    ["SupContrast/SupConLoss", "google-research/supcon:views", "moco-v3"],
)
class TestFactorInTemperature:
    def batch(self, loss, framework):
        a = framework.asarray(A)
        inputs = (a, framework.labels([0, 0, 0, 1, 1, 1, 2, 2]))
        return inputs if "labels" in loss.inputs else (a, framework.asarray(B))

    def test_follows_the_temperature(self, name, framework):
        one = nf.preset(name, temperature=0.25)
        plain = dataclasses.replace(one, scale_by="constant", scale=1.0)
        inputs = self.batch(one, framework)
        factor = 0.25 * one.scale
        assert abs(float(one(*inputs)) - factor * float(plain(*inputs))) < 1e-12
        other = dataclasses.replace(one, temperature=0.5)
        assert nf.preset(name, temperature=0.5) == other
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            explained = other.explain(*inputs).to_dict()["value"]
        assert abs(explained - float(other(*inputs))) < 1e-12

    def test_refuses_a_temperature_at_the_call(self, name, framework):
        loss = nf.preset(name)
        inputs = self.batch(loss, framework)
        for temperature in (0.1, framework.asarray(0.1)):
            with pytest.raises(ValueError, match="no temperature at the call"):
                loss(*inputs, temperature=temperature)
            with pytest.raises(ValueError, match="no temperature at the call"):
                loss.value_and_grad(*inputs, temperature=temperature)


def test_a_factor_in_temperature_is_not_learned():
    from nearfar.torch import Loss

    with pytest.raises(ValueError, match="scale_by"):
        Loss(nf.preset("moco-v3"), learn_temperature=True)


def test_explaining_the_first_view():
    loss = nf.preset("raminnakhli/DCL", temperature=0.5)
    said = loss.explain(A, B).to_dict()
    assert said["anchors"] == 8
    assert said["negatives"] == {"least": 14, "median": 14.0, "most": 14}
    assert 0 < said["hardest_tenth"] < 1


def test_explaining_anchors_that_are_their_own_positives():
    loss = nf.preset("tensorflow-addons/npairs_loss")
    said = loss.explain(A, [0, 0, 0, 1, 1, 1, 2, 3]).to_dict()
    assert said["positives"]["least"] == 1
    assert said["without_positives"]["count"] == 0
