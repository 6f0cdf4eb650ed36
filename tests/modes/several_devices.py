"""Losses and measures over eight devices of JAX against one device; a process of its own.

Prints one line for each comparison: what, how, the largest relative difference.
"""

import sys
from contextlib import nullcontext
from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import nearfar as nf
from nearfar import distances, divergences
from nearfar.losses import Loss

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_disable_most_optimizations", True)  # hundreds of programs run once
UPSTREAM = 3.0
ROWS = 16  # two a device

rng = np.random.default_rng(4)
X = rng.normal(size=(ROWS, 5)) * rng.uniform(0.5, 2, (ROWS, 1))
Y, Z = X + rng.normal(size=X.shape), rng.normal(size=X.shape)
LABELS = np.arange(ROWS) % 2
TARGETS = rng.integers(0, 5, ROWS) / 4
PROBABILITIES = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
OTHERS = np.exp(Y) / np.exp(Y).sum(axis=1, keepdims=True)

# What is called, with the rows that devices share, floats first.
CALLS = {
    "NTXent": (nf.NTXent(), X, Y),
    "InfoNCE": (nf.InfoNCE(), X, Y),
    "InfoNCE, own negatives": (nf.InfoNCE(), X, Y, np.stack([Z, Z[::-1]], axis=1)),
    "SupCon": (nf.SupCon(), X, LABELS),
    "SupCon own_positive dot": (nf.SupCon(denominator="own_positive", similarity="dot"), X, LABELS),
    "HCL": (nf.HCL(), X, Y),
    "DCL": (nf.DCL(), X, Y),
    "SupCR": (nf.SupCR(), X, TARGETS),
    "CLIP": (nf.CLIP(similarity="neg_euclidean"), X, Y),
    "SigLIP": (nf.SigLIP(), X, Y),
    "Triplet": (nf.Triplet(margin=2.0), X, Y, Z),
    "BatchTriplet": (nf.BatchTriplet(margin=2.0), X, LABELS),
    "BatchTriplet hard": (nf.BatchTriplet(margin=2.0, mining="hard"), X, LABELS),
    "PairMargin": (nf.PairMargin(margin=3.0), X, LABELS),
}
CALLS = {name: (loss.with_options(tile=8), *rows) for name, (loss, *rows) in CALLS.items()}
for metric in ("euclidean", "cityblock", "chebyshev", "cosine"):
    for measure in (distances.pairwise, distances.paired):
        f = partial(measure, metric=metric)
        CALLS[f"{measure.__name__} {metric}"] = (lambda *a, f=f: f(*a).sum(), X, Y)
CALLS["matrix_norm"] = (distances.matrix_norm, X)
for measure in (divergences.kl, divergences.cross_entropy, divergences.binary_cross_entropy):
    CALLS[measure.__name__] = (measure, PROBABILITIES, OTHERS)
CALLS["entropy"] = (divergences.entropy, PROBABILITIES)
CALLS["softmax_cross_entropy"] = (divergences.softmax_cross_entropy, X, LABELS)


def floats(rows):
    return tuple(k for k, x in enumerate(rows) if x.dtype == np.float64 and x.ndim > 1)


def both(function, wrt):
    return jax.value_and_grad(lambda *rows: UPSTREAM * function(*rows), argnums=wrt)


def shards(x):
    return np.split(x, 8)


def on_one(function, wrt):
    """NumPy's losses, which compile nothing; measures have their gradients in JAX."""
    if not isinstance(function, Loss):
        return jax.jit(both(function, wrt))

    def run(*rows):
        value, gradients = function.value_and_grad(*rows)
        return UPSTREAM * value, [UPSTREAM * g for g in gradients]

    return run


def each_its_own(function, rows, wrt):
    """The mean over the devices of what each makes of its rows."""
    run = on_one(function, wrt)
    found = [run(*part) for part in zip(*map(shards, rows), strict=True)]
    gradients = zip(*(g for _, g in found), strict=True)
    return np.mean([v for v, _ in found]), [np.concatenate(g) / 8 for g in gradients]


def whole(function, rows, wrt):
    return on_one(function, wrt)(*rows)


def over(mesh, rows):
    return [jax.device_put(x, NamedSharding(mesh, P("d"))) for x in rows]


def mapped_own(mesh, function, rows, wrt):
    def mean(*rows):
        return jax.lax.pmean(function(*rows), "d")

    run = jax.shard_map(mean, mesh=mesh, in_specs=P("d"), out_specs=P())
    return jax.jit(both(run, wrt))(*over(mesh, rows))


def mapped_gathered(mesh, function, rows, wrt):
    """Every device gathers all rows, and all have the value of the whole batch."""

    def of_all(*rows):
        gathered = [jax.lax.all_gather(x, "d", tiled=True) for x in rows]
        return jax.lax.pmean(function(*gathered), "d")

    run = jax.shard_map(of_all, mesh=mesh, in_specs=P("d"), out_specs=P())
    return jax.jit(both(run, wrt))(*over(mesh, rows))


def mapped_whole(mesh, function, rows, wrt):
    """All devices have all rows."""
    run = jax.shard_map(function, mesh=mesh, in_specs=P(), out_specs=P())
    return both(run, wrt)(*(jax.device_put(x, NamedSharding(mesh, P())) for x in rows))


def on_mesh(mesh, function, rows, wrt, spec, wrap=lambda f: f):
    return wrap(both(function, wrt))(*(jax.device_put(x, NamedSharding(mesh, spec)) for x in rows))


def pmapped(mesh, function, rows, wrt):
    run = jax.pmap(both(function, wrt), axis_name="d")
    values, gradients = run(*(np.stack(shards(x)) for x in rows))
    return np.mean(values), [np.concatenate(g) / 8 for g in gradients]


def mapped_temperature(mesh):
    """A temperature that all devices share: its gradient takes in what each has of it."""

    def mean(t, *rows):
        return jax.lax.pmean(nf.NTXent()(*rows, temperature=t), "d")

    specs = (P(), P("d"), P("d"))
    run = jax.shard_map(mean, mesh=mesh, in_specs=specs, out_specs=P())
    t = jax.device_put(0.3, NamedSharding(mesh, P()))
    value, slope = jax.jit(jax.value_and_grad(run))(t, *over(mesh, (X, Y)))
    return value, [slope]


def temperatures_own():
    parts = zip(shards(X), shards(Y), strict=True)
    found = [nf.NTXent().value_and_grad(*part, temperature=np.asarray(0.3)) for part in parts]
    return np.mean([v for v, _ in found]), [np.mean([slopes[-1] for _, slopes in found])]


# On meshes of explicit axes, as `jax.make_mesh` makes them; then how arrays were cut before.
WAYS = {
    "shard_map, own rows": (mapped_own, "explicit"),
    "shard_map, gathered": (mapped_gathered, "explicit"),
    "shard_map, replicated": (mapped_whole, "explicit"),
    "cut": (partial(on_mesh, spec=P("d"), wrap=jax.jit), "explicit"),
    "replicated": (partial(on_mesh, spec=P()), "explicit"),
    "shard_map, own rows, auto": (mapped_own, "auto"),
    "cut, auto": (partial(on_mesh, spec=P("d")), "auto"),
    "shard_map, own rows, two axes": (mapped_own, "two axes"),
    "pmap": (pmapped, "auto"),
}
FEW = ("shard_map, own rows", "cut")
KINDS = ("NTXent", "SupCR", "pairwise euclidean")
"""Of each evaluator and of measures one is tried in all ways; others in one way each, in turn."""
OWN = ("shard_map, own rows", "pmap", "shard_map, own rows, auto", "shard_map, own rows, two axes")


def difference(got, want):
    got, want = ([np.asarray(value), *map(np.asarray, g)] for value, g in (got, want))
    return max(
        float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))
        for a, b in zip(got, want, strict=True)
    )


def main(ways, names):
    explicit, auto = AxisType.Explicit, AxisType.Auto
    meshes = {
        "explicit": jax.make_mesh((8,), ("d",), axis_types=(explicit,)),
        "auto": jax.make_mesh((8,), ("d",), axis_types=(auto,)),
        "two axes": jax.make_mesh((8, 1), ("d", "m"), axis_types=(explicit, explicit)),
    }
    got = mapped_temperature(meshes["explicit"])
    print(f"a temperature: {difference(got, temperatures_own())}", flush=True)
    for k, name in enumerate(names or CALLS):
        function, *rows = CALLS[name]
        wrt = floats(rows)
        for way in ways or (tuple(WAYS) if name in KINDS else (list(WAYS)[k % len(WAYS)],)):
            run, kind = WAYS[way]
            want = each_its_own if way in OWN else whole
            # Without it even the gradient of a sum fails in JAX, outside of a program.
            inside = nullcontext() if kind == "auto" else jax.set_mesh(meshes[kind])
            try:
                with inside:
                    got = run(meshes[kind], function, rows, wrt)
                told = difference(got, want(function, rows, wrt))
            except Exception as error:
                told = f"{type(error).__name__}: {str(error)[:200]!r}"
            print(f"{name}; {way}: {told}", flush=True)


if __name__ == "__main__":
    main({"few": FEW, "all": ()}.get(sys.argv[1], sys.argv[1:2]), sys.argv[2:])
