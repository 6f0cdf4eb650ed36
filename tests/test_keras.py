"""The loss of a Keras model: labels, stacked views, saving and loading."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import nearfar as nf
from nearfar.keras import Loss, LossLayer

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
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "loss",
    [nf.SupCon(), nf.SupCR()],
    ids=repr,
)
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


EVERY = {
    "SupCon": (nf.SupCon(), X, LABELS),
    "SupCon with lone rows": (nf.SupCon(), X, np.array([0, 0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8])),
    "SupCon pairs": (nf.SupCon(average="pairs"), X, LABELS),
    "SupCR": (nf.SupCR(), X, np.arange(12) // 2),
    "PairMargin": (nf.PairMargin(), X, LABELS),
    "BatchTriplet": (nf.BatchTriplet(margin=3.0), X, LABELS),
}
for _loss in (nf.NTXent(), nf.NTXent(anchors="first"), nf.HCL(), nf.DCL(), nf.CLIP(), nf.SigLIP()):
    EVERY[repr(_loss)] = (_loss, RNG.normal(size=(12, 2, 5)).astype("float32"), np.zeros(12))
EVERY["Triplet"] = (nf.Triplet(), RNG.normal(size=(12, 3, 5)).astype("float32"), np.zeros(12))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("loss", "rows", "labels"), EVERY.values(), ids=EVERY)
def test_weights_of_one_change_nothing(loss, rows, labels, reduction):
    adapter = Loss(replace(loss, reduction=reduction))
    want = float(adapter(labels, rows))
    if reduction != "sum":
        assert want == pytest.approx(float(Loss(loss)(labels, rows)), rel=1e-6)
    for weights in (np.ones(12), np.ones((12, 1)), [1.0] * 12):
        assert float(adapter(labels, rows, sample_weight=weights)) == pytest.approx(want, rel=1e-5)
    assert float(adapter(labels, rows, 3 * np.ones(12))) == pytest.approx(3 * want, rel=1e-5)


def test_weights_go_to_their_anchors():
    weights = RNG.random(12)
    terms = nf.SupCon(reduction="none")(X, EVERY["SupCon with lone rows"][2])
    labels = EVERY["SupCon with lone rows"][2]
    got = Loss(nf.SupCon())(labels, X, sample_weight=weights)
    assert float(got) == pytest.approx(float((terms * weights).sum() / 5), rel=1e-5)
    _, views, _ = EVERY[repr(nf.NTXent())]
    terms = nf.NTXent(reduction="none")(views[:, 0], views[:, 1]).reshape(2, 12)
    got = Loss(nf.NTXent(reduction="none"))(np.zeros(12), views, sample_weight=weights)
    assert float(got) == pytest.approx(float((terms * weights).sum() / 24), rel=1e-5)
    with pytest.raises(ValueError, match=r"sample_weight of shape \(12,\).*received 24"):
        Loss(nf.NTXent())(np.zeros(12), views, sample_weight=np.ones(24))


# Ids and times that float32 cannot tell apart.
IDS = 10**9 + np.repeat(np.arange(6), 2)
LARGE = {
    "int64": IDS,
    "column": IDS[:, None],
    "float64": IDS.astype(np.float64),
    "tensor": tf.constant(IDS),
    "from 2^24": 2**24 + np.repeat(np.arange(6), 2),
    "text": IDS.astype(str),
    "list": IDS.tolist(),
}


@pytest.mark.parametrize("labels", LARGE.values(), ids=LARGE)
def test_labels_keep_their_dtype(labels):
    want = float(nf.SupCon()(X, np.repeat(np.arange(6), 2)))
    assert float(Loss(nf.SupCon())(labels, X)) == pytest.approx(want, rel=1e-6)


def test_targets_keep_their_dtype():
    times = 1_700_000_000 + RNG.permutation(12)
    want = float(nf.SupCR()(X, (times - times.min()).astype(np.float64)))
    for given in (times, times.astype(np.float64), times[:, None], tf.constant(times)):
        assert float(Loss(nf.SupCR())(given, X)) == pytest.approx(want, rel=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_labels_keep_their_dtype_in_fit():
    def trained(labels):
        keras.utils.set_random_seed(0)
        net = model(3)
        net.compile("sgd", Loss(nf.SupCon()))
        history = net.fit(X, labels, epochs=2, batch_size=12, shuffle=False, verbose=0)
        return history.history["loss"]

    assert trained(IDS) == pytest.approx(trained(IDS - 10**9), rel=1e-6)


def test_text_in_a_graph_is_named():
    text = tf.data.Dataset.from_tensor_slices((X, IDS.astype(str))).batch(12)
    net = model(3)
    net.compile("sgd", Loss(nf.SupCon()))
    with pytest.raises(TypeError, match=r"received dtype .*str.*numpy\.unique"):
        net.fit(text, shuffle=False, verbose=0)


@pytest.mark.parametrize(
    "loss", [pytest.param(nf.CLIP(), marks=pytest.mark.long), nf.SigLIP()], ids=repr
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_layer_learns_the_temperature(loss, tmp_path):
    keras.utils.set_random_seed(0)
    sides = [keras.Input((5,)), keras.Input((4,))]
    made = [keras.layers.Dense(3)(x) for x in sides]
    net = keras.Model(sides, LossLayer(loss, learn_temperature=True, name="told")(made))
    data = [X, RNG.normal(size=(12, 4)).astype("float32")]
    net.compile(keras.optimizers.Adam(0.05))
    layer = net.get_layer("told")
    assert layer.temperature == pytest.approx(loss.temperature)
    want = float(loss(*(np.asarray(x) for x in net(data))))
    assert net.evaluate(data, verbose=0) == pytest.approx(want, rel=1e-5)
    net.fit(data, epochs=8, batch_size=12, verbose=0)
    assert net.evaluate(data, verbose=0) < want
    assert abs(layer.temperature - loss.temperature) > 0.001
    assert len(layer.trainable_weights) == len(loss.parameters)
    net.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").get_layer("told")
    assert (again.loss, again.temperature) == (loss, pytest.approx(layer.temperature))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_learned_temperature_stays_at_its_least():
    rows = keras.Input((5,))
    net = keras.Model(rows, LossLayer(nf.NTXent(temperature=0.0101), True)([rows, rows])[0])
    net.compile(keras.optimizers.SGD(100.0))
    net.fit(X, epochs=3, batch_size=12, verbose=0)
    assert net.layers[-1].temperature == pytest.approx(0.01)


def test_a_variable_of_keras_is_an_array():
    rows, t = keras.Variable(X), keras.Variable(0.3)
    want = float(nf.SupCon(temperature=0.3)(X, LABELS))
    with tf.GradientTape() as tape:
        value = nf.SupCon()(rows, LABELS, temperature=t)
    assert float(value) == pytest.approx(want, rel=1e-6)
    slopes = tape.gradient(value, [rows.value, t.value])
    _, found = nf.SupCon().value_and_grad(rows, LABELS, temperature=t)
    for slope, g in zip(slopes, found, strict=True):
        np.testing.assert_allclose(np.asarray(slope), np.asarray(g), rtol=1e-5, atol=1e-6)
    assert nf.metrics.uniformity(rows) == nf.metrics.uniformity(X)
    assert float(nf.distances.paired(rows, rows)[0]) == 0


OTHER_BACKEND = """
import keras, numpy as np, nearfar as nf
from nearfar.keras import Loss, LossLayer
rng = np.random.default_rng(0)
x, y = rng.normal(size=(2, 12, 5)).astype("float32")
ids = 10**9 + np.repeat(np.arange(6), 2)
want = float(nf.SupCon()(x, np.repeat(np.arange(6), 2)))
got = [float(Loss(nf.SupCon())(ids, x)), float(Loss(nf.SupCon())(ids, x, np.ones(12)))]
assert np.allclose(got, want, rtol=1e-5), (got, want)
t = keras.Variable(0.3)
got = float(nf.SupCon()(keras.ops.convert_to_tensor(x), ids, temperature=t))
assert np.isclose(got, float(nf.SupCon(temperature=0.3)(x, ids)), rtol=1e-5)
net = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
net.compile("sgd", Loss(nf.SupCon()))
first = net.evaluate(x, ids, batch_size=12, verbose=0)
assert np.isclose(first, float(nf.SupCon()(np.asarray(net.predict(x, verbose=0)), ids)), rtol=1e-4)
net.fit(x, ids, sample_weight=np.ones(12), batch_size=12, verbose=0)
sides = [keras.Input((5,)), keras.Input((5,))]
made = [keras.layers.Dense(3)(side) for side in sides]
net = keras.Model(sides, LossLayer(nf.CLIP(), learn_temperature=True, name="told")(made))
net.compile(keras.optimizers.Adam(0.05))
before = net.evaluate([x, y], batch_size=12, verbose=0)
net.fit([x, y], epochs=5, batch_size=12, verbose=0)
assert net.evaluate([x, y], batch_size=12, verbose=0) < before
assert abs(net.get_layer("told").temperature - 0.07) > 1e-3
"""


RETRIEVAL = """
import keras, numpy as np, nearfar as nf
from nearfar.keras import LossLayer
rng = np.random.default_rng(0)
x, y = rng.normal(size=(2, 12, 5)).astype("float32")
ids, p, w = rng.integers(0, 6, 12).astype("int32"), *rng.random((2, 12)).astype("float32")
p[3] = 0
loss = nf.preset("tensorflow-recommenders/Retrieval")
facts = {"ids": ids, "log_q": np.log(np.clip(p, 1e-6, 1)), "sample_weight": w}
names = "candidate_ids", "candidate_sampling_probability", "sample_weight"
told = dict(zip(names, map(keras.ops.convert_to_tensor, (ids, p, w))))
sides = [keras.ops.convert_to_tensor(z) for z in (x, y)]
layer = LossLayer(loss)
layer(sides, **told)
assert np.isclose(float(layer.losses[0]), loss(x, y, **facts), rtol=1e-5)
layer({"query": sides[0], "positive": sides[1]} | told)
assert np.isclose(float(layer.losses[0]), loss(x, y, **facts), rtol=1e-5)
given = [keras.Input(z.shape[1:], dtype=z.dtype.name) for z in (x, y, ids, p, w)]
dense = keras.layers.Dense(3)
made = LossLayer(loss)([dense(z) for z in given[:2]], **dict(zip(names, given[2:])))
net = keras.Model(given, made)
net.compile(keras.optimizers.Adam(0.05))
data = [x, y, ids, p, w]
q, c = (keras.ops.convert_to_numpy(z) for z in net.predict(data, verbose=0))
before = net.evaluate(data, batch_size=12, verbose=0)
assert np.isclose(before, loss(q, c, **facts), rtol=1e-4), before
net.fit(data, epochs=5, batch_size=12, verbose=0)
assert net.evaluate(data, batch_size=12, verbose=0) < before
"""

EVERY_LOSS = """
import keras, numpy as np
from nearfar.keras import LossLayer
from support.cases import CASES
seen, wrong = set(), {}
for name, case in CASES.items():
    if type(case.loss) in seen:
        continue
    seen.add(type(case.loss))
    floats, facts = iter(case.embeddings), iter(case.labels)
    names = [x for x in case.loss.inputs if x not in case.loss.optional]
    names += list(case.loss.optional)[: len(case.embeddings) + len(case.labels) - len(names)]
    given = {x: next(floats if x in case.loss.embeddings else facts) for x in names}
    layer = LossLayer(case.loss)
    layer({x: keras.ops.convert_to_tensor(z) for x, z in given.items()})
    off = abs(float(layer.losses[0]) / float(case.loss(**given)) - 1)
    if not off < 1e-4:
        wrong[name] = off
assert len(seen) >= 24, len(seen)
assert not wrong, wrong
"""


def in_backend(backend, program):
    paths = [os.environ.get("PYTHONPATH", ""), str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_another_backend():
    in_backend("torch", OTHER_BACKEND)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_a_layer_takes_every_loss_and_what_a_retrieval_task_is_told(backend):
    # What it does for a loss is the same code in all of them.
    more = {"torch": EVERY_LOSS, "jax": OTHER_BACKEND}
    in_backend(backend, RETRIEVAL + more.get(backend, ""))


def test_a_layer_is_told_of_its_rows_by_name():
    loss = nf.InfoNCE()
    ids, p = RNG.integers(0, 6, 12), RNG.random(12).astype("float32")
    want = float(loss(X, X[::-1].copy(), ids=ids, log_q=np.log(p)))
    layer = LossLayer(loss)
    sides = [tf.constant(X), tf.constant(X[::-1].copy())]
    for numbers in (tf.constant(ids), tf.constant(ids.astype(str))):
        layer(sides, candidate_ids=numbers, candidate_sampling_probability=tf.constant(p))
        assert float(layer.losses[0]) == pytest.approx(want, rel=1e-5)
    given = {"query": sides[0], "positive": sides[1], "candidate_ids": tf.constant(ids)}
    layer(given | {"log_q": tf.math.log(p)})
    assert float(layer.losses[0]) == pytest.approx(want, rel=1e-5)
    with pytest.raises(TypeError, match="ids or candidate_ids, which are the same; received both"):
        layer(given | {"ids": tf.constant(ids)})
    with pytest.raises(TypeError, match="at most x, y, ids for CLIP; received 4 inputs"):
        LossLayer(nf.CLIP())([*sides, *sides])


def test_a_layer_takes_a_reference():
    memory, marks = RNG.normal(size=(7, 5)).astype("float32"), RNG.integers(0, 3, 7)
    weights = RNG.random(12).astype("float32")
    given = {"embeddings": X, "labels": LABELS, "reference": memory, "reference_labels": marks}
    want = float(nf.SupCon()(**given, sample_weight=weights))
    layer = LossLayer(nf.SupCon())
    layer({name: tf.constant(x) for name, x in given.items()}, sample_weight=tf.constant(weights))
    assert float(layer.losses[0]) == pytest.approx(want, rel=1e-5)


def test_refused():
    with pytest.raises(TypeError, match="nearfar loss; received str"):
        Loss("mse")
    with pytest.raises(TypeError, match="nearfar loss; received str"):
        LossLayer("mse")
    with pytest.raises(ValueError, match='received "none"'):
        LossLayer(nf.CLIP(reduction="none"))
    with pytest.raises(ValueError, match="a loss with a temperature to learn; received Triplet"):
        LossLayer(nf.Triplet(), learn_temperature=True)
    with pytest.raises(ValueError, match=r"to start at 0.01 or above; received 0.001"):
        LossLayer(nf.CLIP(temperature=0.001), learn_temperature=True)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_layer_holds_proxies(tmp_path):
    keras.utils.set_random_seed(0)
    rows, labels = keras.Input((5,)), keras.Input((), dtype="int32")
    layer = LossLayer(nf.ProxyAnchor(), proxies=(3, 4), name="told")
    net = keras.Model([rows, labels], layer([keras.layers.Dense(4)(rows), labels])[0])
    net.compile(keras.optimizers.Adam(0.05))
    data = [X, LABELS.astype("int32")]
    want = float(nf.ProxyAnchor()(np.asarray(net(data)), LABELS, np.asarray(layer.proxies)))
    assert net.evaluate(data, verbose=0) == pytest.approx(want, rel=1e-5)
    before = np.asarray(layer.proxies).copy()
    net.fit(data, epochs=4, batch_size=12, verbose=0)
    assert net.evaluate(data, verbose=0) < want
    assert np.abs(np.asarray(layer.proxies) - before).max() > 0.01
    net.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").get_layer("told")
    np.testing.assert_array_equal(np.asarray(again.proxies), np.asarray(layer.proxies))
