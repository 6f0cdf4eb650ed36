"""The loss of a Keras model: labels, stacked views, saving and loading."""

import keras
import numpy as np
import pytest

import nearfar as nf
from nearfar.keras import Loss

RNG = np.random.default_rng(72)
X = RNG.normal(size=(12, 5)).astype("float32")
LABELS = RNG.integers(0, 3, 12)


def model(outputs):
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(outputs)])


@pytest.mark.parametrize("shape", [(12,), (12, 1)], ids=str)
def test_labels(shape):
    got = Loss(nf.SupCon())(LABELS.reshape(shape), X)
    assert float(got) == pytest.approx(float(nf.SupCon()(X, LABELS)), rel=1e-6)


def test_multi_hot_labels_and_targets():
    many = (RNG.random((12, 4)) < 0.4).astype("float32")
    assert float(Loss(nf.SupCon())(many, X)) == pytest.approx(float(nf.SupCon()(X, many)), rel=1e-6)
    targets = RNG.normal(size=(12, 1)).astype("float32")
    want = float(nf.SupCR()(X, targets))
    assert float(Loss(nf.SupCR())(targets, X)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("loss", [nf.NTXent(), nf.CLIP(), nf.InfoNCE()], ids=str)
def test_stacked_views(loss):
    views = RNG.normal(size=(6, 2, 5)).astype("float32")
    want = float(loss(views[:, 0], views[:, 1]))
    assert float(Loss(loss)(np.zeros(6), views)) == pytest.approx(want, rel=1e-6)


def test_triplets():
    rows = RNG.normal(size=(6, 3, 5)).astype("float32")
    want = float(nf.Triplet()(rows[:, 0], rows[:, 1], rows[:, 2]))
    assert float(Loss(nf.Triplet())(np.zeros(6), rows)) == pytest.approx(want, rel=1e-6)
    with pytest.raises(ValueError, match=r"\(n, 3, d\) for Triplet.*received \(6, 2, 5\)"):
        Loss(nf.Triplet())(np.zeros(6), rows[:, :2])


# Keras 3.15 turns its variables into arrays in a way that NumPy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("loss", [nf.SupCon(), nf.BatchTriplet(), nf.SupCR()], ids=repr)
def test_compiled_by_xla(loss):
    """As Keras does by itself on a GPU, in one program for batches of any size."""

    def trained(jit_compile):
        keras.utils.set_random_seed(0)
        net = model(3)
        net.compile("sgd", Loss(loss), jit_compile=jit_compile)
        history = net.fit(X, LABELS, epochs=2, batch_size=7, shuffle=False, verbose=0)
        return history.history["loss"]

    assert trained(True) == pytest.approx(trained(False), rel=1e-5)


# Keras 3.15 turns its variables into arrays in a way that NumPy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_training_lowers_it_and_the_model_comes_back(tmp_path):
    net = model(3)
    net.compile("adam", Loss(nf.SupCon(temperature=0.5)))
    before = net.evaluate(X, LABELS, verbose=0)
    net.optimizer.learning_rate = 0.05
    net.fit(X, LABELS, epochs=20, batch_size=12, verbose=0)
    after = net.evaluate(X, LABELS, verbose=0)
    assert after < before - 0.05
    net.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.loss == nf.SupCon(temperature=0.5)
    assert again.evaluate(X, LABELS, verbose=0) == pytest.approx(after, rel=1e-5)


def test_sample_weights():
    with pytest.raises(ValueError, match="no sample_weight"):
        Loss(nf.SupCon())(LABELS, X, sample_weight=np.ones(12))
    weights = RNG.random(12).astype("float32")
    each = nf.SupCon(reduction="none")
    got = Loss(each)(LABELS, X, sample_weight=weights)
    assert float(got) == pytest.approx(float((each(X, LABELS) * weights).mean()), rel=1e-5)


def test_refused():
    with pytest.raises(TypeError, match="nearfar loss; received str"):
        Loss("mse")
