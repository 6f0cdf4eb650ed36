"""Losses over two replicas of TensorFlow against one device; a process of its own.

Keras, in float32, is trained on both. Prints one line for each comparison: what, and the largest
relative difference; or what was said.
"""

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# After the devices are cut, which a framework that has begun can no longer.
import keras  # noqa: E402

import nearfar as nf  # noqa: E402
from nearfar.keras import Loss, LossLayer  # noqa: E402
from nearfar.tensorflow import replicated  # noqa: E402

UPSTREAM = 3.0
SIZES = [7, 5]
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(3)
X, Y = rng.normal(size=(2, 12, 5))
LABELS, IDS, WEIGHTS = rng.integers(0, 4, 12), rng.integers(0, 9, 12), rng.random(12)
QUEUE, PROXIES = rng.normal(size=(6, 5)), rng.normal(size=(4, 5))
REFERENCE = {"reference": QUEUE, "reference_labels": rng.integers(0, 4, 6)}
QUERIES = {"query": X, "positive": Y}

CALLS = {
    "NTXent": (nf.NTXent(), {"a": X, "b": Y}, {}),
    "SupCR": (nf.SupCR(), {"embeddings": X, "targets": rng.normal(size=12)}, {}),
    "CLIP, ids": (nf.CLIP(), {"x": X, "y": Y, "ids": (IDS, IDS[::-1])}, {}),
    "InfoNCE": (
        nf.InfoNCE(in_batch="always"),
        QUERIES | {"ids": IDS, "sample_weight": WEIGHTS},
        {"queue": QUEUE},
    ),
    "SupCon": (nf.SupCon(), {"embeddings": X, "labels": LABELS}, REFERENCE),
    "ProxyAnchor": (
        nf.ProxyAnchor(alpha=8.0),
        {"embeddings": X, "labels": LABELS},
        {"proxies": PROXIES},
    ),
}


def cut(x):
    if isinstance(x, tuple):
        return tuple(map(cut, x))
    parts = np.split(x, [SIZES[0]])
    return STRATEGY.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def off(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max())


def compared(loss, rows, whole, graph):
    """Value and gradients of all replicas, by rows, shared inputs and the temperature."""
    facts = {name: x for name, x in (rows | whole).items() if name not in loss.embeddings}
    floats = {name: x for name, x in (rows | whole).items() if name in loss.embeddings}
    learned = {name: tf.constant(0.3, tf.float64) for name in loss.parameters}
    shared = [name for name in whole if name != "proxies"]

    def step(floats, facts):
        with tf.GradientTape() as tape:
            tape.watch([floats, learned])
            value = UPSTREAM * replicated(loss, shared=shared)(**floats, **facts, **learned)
        return value, tape.gradient(value, [floats, learned])

    def given(part):
        return {name: cut(x) if name in rows else tf.constant(x) for name, x in part.items()}

    def run():
        return STRATEGY.run(step, args=(given(floats), given(facts)))

    values, (found, slopes) = (tf.function(run) if graph else run)()
    plain = {name: tf.constant(x) for name, x in floats.items()}
    with tf.GradientTape() as tape:
        tape.watch([plain, learned])
        want = UPSTREAM * loss(**plain, **facts, **learned)
    by_rows, by_learned = tape.gradient(want, [plain, learned])
    wrong = [
        off(value.numpy(), want.numpy()) for value in STRATEGY.experimental_local_results(values)
    ]
    for name, x in by_rows.items():
        parts = [g.numpy() / 2 for g in STRATEGY.experimental_local_results(found[name])]
        wrong.append(off(np.concatenate(parts) if name in rows else sum(parts), x.numpy()))
    for name, x in by_learned.items():
        parts = [g.numpy() / 2 for g in STRATEGY.experimental_local_results(slopes[name])]
        wrong.append(off(sum(parts), x.numpy()))
    return max(wrong)


def fitted(strategy, layer):
    """Losses and weights of a training of Keras, whose batches are cut over replicas."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        rows, other = keras.Input((5,)), keras.Input((5,))
        labels = keras.Input((), dtype="int64")
        dense = keras.layers.Dense(3)
        if layer:
            told = LossLayer(nf.InfoNCE(), learn_temperature=True)
            out = told([dense(rows), dense(other)], candidate_ids=labels)[0]
            proxies = LossLayer(nf.ProxyAnchor(alpha=8.0), proxies=(9, 3))
            net = keras.Model([rows, other, labels], proxies([out, labels])[0])
            net.compile(keras.optimizers.SGD(0.05))
            data, y, weights = [X, Y, IDS], None, None
        else:
            net = keras.Sequential([rows, dense])
            net.compile(keras.optimizers.SGD(0.05), Loss(nf.SupCon()))
            data, y, weights = X, LABELS, WEIGHTS
        history = net.fit(
            data, y, sample_weight=weights, epochs=3, batch_size=12, shuffle=False, verbose=0
        )
    # Keras holds added losses in one list for all replicas, whose sum it shows.
    shown = [] if layer else [np.array(history.history["loss"])]
    return [*shown, *net.get_weights()]


def said(function):
    try:
        return repr(function())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def shifted():
    def step(a, b):
        return replicated(nf.NTXent())(a, b)

    return STRATEGY.run(step, args=(cut(X), cut(np.concatenate([Y, Y]))))


if __name__ == "__main__":
    for name, call in CALLS.items():
        print(f"{name}:", compared(*call, graph=False))
    print("NTXent in a graph:", compared(*CALLS["NTXent"], graph=True))
    alone = tf.distribute.get_strategy()
    for layer in (False, True):
        pairs = zip(fitted(STRATEGY, layer), fitted(alone, layer), strict=True)
        print(f"Keras, {'layers' if layer else 'a loss'}:", max(off(a, b) for a, b in pairs))
    print("outside:", off(replicated(nf.CLIP())(X, Y), nf.CLIP()(X, Y)))
    print("none said:", said(lambda: replicated(nf.NTXent(reduction="none"))))
    print("no pool said:", said(lambda: replicated(nf.NTXent(), shared=("a",))))
    print("shifted said:", said(shifted))
