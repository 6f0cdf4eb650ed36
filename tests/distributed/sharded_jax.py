"""`nearfar.jax.sharded` over eight devices of JAX against one device; a process of its own.

Prints one line for each comparison: what, how, the largest relative difference; or what was said.
Several tasks, each with its names, stand apart by "--".
"""

import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from support.cases import CASES as REGISTERED
from support.cases import LOSSES

import nearfar as nf
from nearfar.jax import sharded

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_disable_most_optimizations", True)  # many programs run once
UPSTREAM = 3.0
EXPLICIT, AUTO = AxisType.Explicit, AxisType.Auto

rng = np.random.default_rng(7)
X = rng.normal(size=(24, 5)) * rng.uniform(0.5, 2, (24, 1))
Y, Z = X + rng.normal(size=X.shape), rng.normal(size=X.shape)
LABELS, TARGETS = rng.integers(0, 5, 24), rng.integers(0, 9, 24) / 4
QUEUE = rng.normal(size=(16, 5))
MARKS = np.eye(5, dtype=np.int64)[LABELS] | np.eye(5, dtype=np.int64)[LABELS[::-1]]

# What is called, with the rows that devices share.
NAMED = {
    "NTXent": (nf.NTXent(), X, Y),
    "SupCon": (nf.SupCon(), X, LABELS),
    "CLIP": (nf.CLIP(), X, Y),
    "SigLIP": (nf.SigLIP(), X, Y),
    "InfoNCE": (nf.InfoNCE(), X, Y),
    "InfoNCE with a queue": (nf.InfoNCE(), X, Y, QUEUE),
    "SupCR": (nf.SupCR(), X, TARGETS),
    "BatchTriplet": (nf.BatchTriplet(margin=2.0), X, LABELS),
}
OTHERS = {
    "InfoNCE with own negatives": (nf.InfoNCE(), X, Y, np.stack([Z, Z[::-1]], axis=1)),
    "SupCon own_positive": (nf.SupCon(denominator="own_positive", similarity="dot"), X, LABELS),
    "SupCon several labels": (nf.SupCon(positives="log_sum"), X, MARKS),
    "SupCR over squares": (nf.SupCR(similarity="neg_sqeuclidean"), X, TARGETS[:, None]),
    "Triplet": (nf.Triplet(margin=2.0), X, Y, Z),
    "BatchTriplet hard": (nf.BatchTriplet(margin=2.0, mining="hard"), X, LABELS),
}


def cut_to_eights(case):
    """The inputs of a registered case, with as many rows as eight devices share evenly."""

    def cut(x):
        x = np.asarray(x)
        n = len(x) - len(x) % 8
        # A number for each pair of rows is cut twice.
        return x[:n, :n] if x.shape[1:] == x.shape[:1] else x[:n]

    return case.loss, *map(cut, (*case.embeddings, *case.labels))


CALLS = {
    name: (loss.with_options(tile=2), *rows) for name, (loss, *rows) in (NAMED | OTHERS).items()
}
for name in (next(iter(entry.cases)) for entry in LOSSES.values()):
    case = REGISTERED.get(name)
    if case and all(len(x) >= 8 for x in case.embeddings):
        CALLS.setdefault(name, cut_to_eights(case))

# Calls by name: rows that are cut over the devices, and what all of them hold whole.
PROXIES = {"proxies": rng.normal(size=(7, 5))}
CENTRES = {"proxies": rng.normal(size=(7, 2, 5))}
REFERENCE = {"reference": QUEUE, "reference_labels": rng.integers(0, 5, 16)}
IDS, WEIGHTS, LOG_Q = rng.integers(0, 9, 24), rng.random(24), -rng.random(24)
OWN = np.stack([Z, Z[::-1]], axis=1)
VALID = rng.random((24, 2)) < 0.7
GUIDE, OTHER_GUIDE = rng.normal(size=(2, 24, 3))
NEAR = nf.Exclude(by="guide", margin=0.1)
ROWS, SIDES = {"embeddings": X, "labels": LABELS}, {"x": X, "y": Y}
QUERIES = {"query": X, "positive": Y}
MEETINGS = {
    "ProxyNCA": (nf.ProxyNCA(), ROWS, PROXIES),
    "SoftTriple": (nf.SoftTriple(), ROWS, CENTRES),
    "CosFace over cut proxies": (nf.CosFace(), ROWS | {"proxies": rng.normal(size=(8, 5))}, {}),
    "ProxyAnchor": (nf.ProxyAnchor(alpha=8.0), ROWS, PROXIES),
    "a sum of proxies": (0.3 * (nf.ProxyAnchor(alpha=8.0) + nf.ProxyNCA()), ROWS, PROXIES),
    "Matryoshka": (nf.Matryoshka(nf.CLIP(), dims=(2, 4)), SIDES, {}),
    "SupCon, a reference": (nf.SupCon(), ROWS, REFERENCE),
    "SupCon, a cut reference": (nf.SupCon(), ROWS | REFERENCE, {}),
    "SupCon, log_q": (nf.SupCon(), ROWS | {"log_q": LOG_Q}, {}),
    "SupCR, both": (
        nf.SupCR(candidates="both"),
        {"embeddings": X, "targets": TARGETS, "sample_weight": WEIGHTS},
        {"reference": QUEUE, "reference_targets": rng.normal(size=16)},
    ),
    "BatchTriplet, weights": (nf.BatchTriplet(), ROWS | {"sample_weight": WEIGHTS}, REFERENCE),
    "CLIP, ids": (nf.CLIP(), SIDES | {"ids": (IDS, IDS[::-1])}, {}),
    "SigLIP, a guide": (
        nf.SigLIP(bias=-2.0, exclude=NEAR, same="ignore"),
        SIDES | {"ids": IDS, "guide": (GUIDE, OTHER_GUIDE)},
        {},
    ),
    "NTXent, ids": (nf.NTXent(), {"a": X, "b": Y, "ids": IDS, "sample_weight": WEIGHTS}, {}),
    "HCL, itself": (nf.HCL(exclude=nf.Exclude(by="self")), {"a": X, "b": Y}, {}),
    "InfoNCE, own of all": (
        nf.InfoNCE(in_batch="always", own="all"),
        QUERIES | {"negatives": OWN, "valid": VALID},
        {},
    ),
    "InfoNCE, a queue": (
        nf.InfoNCE(in_batch="always", directions=("qp", "pq")),
        QUERIES | {"negatives": OWN, "ids": IDS, "sample_weight": WEIGHTS},
        {"queue": QUEUE},
    ),
    "SoftContrastive": (
        nf.SoftContrastive(weights="rbf"),
        {"embeddings": X, "targets": rng.normal(size=(24, 2))},
        {},
    ),
}


def embeddings(loss, rows):
    names = loss.inputs[: len(rows)]
    return tuple(k for k, name in enumerate(names) if name in loss.embeddings)


def whole(loss, rows, **named):
    """NumPy's, which compiles nothing."""
    value, gradients = loss.value_and_grad(*rows, **named)
    return UPSTREAM * value, [UPSTREAM * g for g in gradients]


def mesh_of(*sizes, kind=AUTO):
    return jax.make_mesh(sizes, ("d", "m")[: len(sizes)], axis_types=(kind,) * len(sizes))


def mapped(loss, rows, mesh, axes="d", queue=None, **options):
    """Differentiated outside of `shard_map`."""
    specs = [P(axes)] * len(rows)
    if queue is not None:
        specs[queue] = P()

    def of_own(*rows):
        return sharded(loss, axes)(*rows)

    run = jax.shard_map(of_own, mesh=mesh, in_specs=tuple(specs), out_specs=P(), **options)
    both = jax.value_and_grad(lambda *x: UPSTREAM * run(*x), embeddings(loss, rows))
    put = [jax.device_put(x, NamedSharding(mesh, s)) for x, s in zip(rows, specs, strict=True)]
    return jax.jit(both)(*put)


def meeting(loss, cut, shared):
    """The same of a call by name, and that of one device."""

    def of_own(floats, facts):
        return sharded(loss, "d")(**floats, **facts)

    together = cut | shared
    floats = {name: x for name, x in together.items() if name in loss.embeddings}
    facts = {name: x for name, x in together.items() if name not in floats}
    specs = [{name: P("d") if name in cut else P() for name in each} for each in (floats, facts)]
    run = jax.shard_map(of_own, mesh=mesh_of(8), in_specs=tuple(specs), out_specs=P())
    value, found = jax.jit(jax.value_and_grad(lambda *x: UPSTREAM * run(*x)))(floats, facts)
    names = [name for name in (*loss.inputs, *loss.keywords) if name in floats]
    return (value, [found[name] for name in names]), whole(loss, (), **together)


def parts(x):
    return np.stack(np.split(np.asarray(x), 8))


def pmapped(loss, rows):
    """The mean over devices, differentiated outside of `pmap`."""
    run = jax.pmap(sharded(loss, "d"), axis_name="d")

    def mean(*rows):
        return UPSTREAM * run(*rows).mean()

    value, gradients = jax.value_and_grad(mean, embeddings(loss, rows))(*map(parts, rows))
    return value, [np.concatenate(g) for g in gradients]


def pmapped_inside(loss, rows):
    """Every device's own gradients, as training loops have them; an average follows."""
    both = jax.value_and_grad(lambda *x: UPSTREAM * sharded(loss, "d")(*x), embeddings(loss, rows))
    values, gradients = jax.pmap(both, axis_name="d")(*map(parts, rows))
    return values[0], [np.concatenate(g) / 8 for g in gradients]


def learned(mesh, inside, **options):
    """A layer's weights and a temperature that all devices share."""
    weights, t = rng.normal(size=(5, 4)), np.asarray(0.3)

    def loss(weights, t, x, y):
        return UPSTREAM * sharded(nf.NTXent(), "d")(x @ weights, y @ weights, temperature=t)

    kind = {"mesh": mesh, "in_specs": (P(), P(), P("d"), P("d"))}
    if inside:
        run = jax.shard_map(jax.grad(loss, (0, 1)), out_specs=(P(), P()), **kind, **options)
        found = run(weights, t, X, Y)
    else:
        run = jax.shard_map(loss, out_specs=P(), **kind, **options)
        found = jax.grad(run, (0, 1))(weights, t, X, Y)

    _, (a, b, slope) = nf.NTXent().value_and_grad(X @ weights, Y @ weights, temperature=t)
    want = [X.T @ a + Y.T @ b, slope]
    return (0.0, found), (0.0, [UPSTREAM * g for g in want])


def bias(mesh):
    def loss(b, x, y):
        return UPSTREAM * sharded(nf.SigLIP(), "d")(x, y, bias=b)

    specs = (P(), P("d"), P("d"))
    run = jax.shard_map(loss, mesh=mesh, in_specs=specs, out_specs=P())
    value, slope = jax.value_and_grad(run)(jnp.asarray(-3.0), X, Y)
    wanted, (_, _, want) = whole(nf.SigLIP(), (X, Y), bias=np.asarray(-3.0))
    return (value, [slope]), (wanted, [want])


def hostile(size):
    """Logits whose rounding may be larger than 1: both devices of a pair have to take one logit."""
    loss = nf.NTXent(temperature=0.5, similarity="dot").with_options(tile=8)
    a, b = (rng.normal(size=(64, 16)) * (size / 16) ** 0.5 for _ in range(2))
    rows = [x.astype(np.float32) for x in (a, b)]
    wanted, exact = whole(loss, [x.astype(np.float64) for x in rows])
    _, rounded = whole(loss, rows)
    value, found = mapped(loss, rows, mesh_of(8))
    unit = max(np.abs(g).max() for g in exact)
    noise = max(1e-6 * unit, *(np.abs(a - b).max() for a, b in zip(rounded, exact, strict=True)))
    off = max(np.abs(a - b).max() for a, b in zip(found, exact, strict=True))
    assert abs(value - wanted) <= 1e-5 * abs(wanted) + 1e-5, (value, wanted)
    return off / noise


def temporary(name, rows):
    """Bytes per device beyond inputs and results, of value and gradient of so many rows."""
    loss, *kinds = NAMED[name]
    mesh = mesh_of(8)
    specs = tuple(P() if x is QUEUE else P("d") for x in kinds)
    given = [
        jax.ShapeDtypeStruct(
            (4096 if x is QUEUE else rows, *(64 for _ in x.shape[1:])),
            np.int32 if x is LABELS else np.float32,
            sharding=NamedSharding(mesh, spec),
        )
        for x, spec in zip(kinds, specs, strict=True)
    ]
    run = jax.shard_map(sharded(loss, "d"), mesh=mesh, in_specs=specs, out_specs=P())
    differentiated = tuple(k for k in embeddings(loss, kinds) if kinds[k] is not QUEUE)
    compiled = jax.jit(jax.value_and_grad(run, differentiated)).lower(*given).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@contextmanager
def optimised():
    """As users' programs are."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


def difference(got, want):
    got, want = ([np.asarray(value), *map(np.asarray, g)] for value, g in (got, want))
    return max(
        float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))
        for a, b in zip(got, want, strict=True)
    )


def told(function):
    try:
        return repr(function())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def refusals():
    mesh = mesh_of(8)

    def call(loss, rows, specs, **options):
        run = jax.shard_map(
            lambda *rows: sharded(loss, "d", **options)(*rows),
            mesh=mesh,
            in_specs=specs,
            out_specs=P(),
        )
        return told(lambda: run(*rows))

    own = (P("d"), P("d"))
    print("none:", told(lambda: sharded(nf.NTXent(reduction="none"), "d")))
    print("no loss:", told(lambda: sharded("NTXent", "d")))
    print("outside:", told(lambda: sharded(nf.NTXent(), "d")(X, Y)))
    print("uneven:", call(nf.NTXent(), (X, Y[:16]), own))
    print("uneven labels:", call(nf.SupCon(), (X, LABELS[:16]), own))
    print("indivisible:", call(nf.NTXent(), (X[:20], Y[:20]), own))
    print("alike:", call(nf.NTXent(), (X, Y), (P(), P())))
    print("no pool:", told(lambda: sharded(nf.NTXent(), "d", shared=("a",))))


def main(what, names):
    if what == "refusals":
        return refusals()
    if what == "memory":
        with optimised():
            for name in names or NAMED:
                print(f"{name}:", *(temporary(name, rows) for rows in (4096, 8192)), flush=True)
        return None
    if what == "meetings":
        for name in names or MEETINGS:
            loss, *rows = MEETINGS[name]
            print(f"{name}:", difference(*meeting(loss.with_options(tile=5), *rows)), flush=True)
        return None
    one, two = mesh_of(8), mesh_of(4, 2)
    for name in names or (CALLS if what == "every" else NAMED):
        loss, *rows = CALLS[name]
        print(f"{name}; shard_map:", difference(mapped(loss, rows, one), whole(loss, rows)))
    if what == "every":
        return None
    # One of each evaluator; the second in the ways whose devices differ.
    for name, some in (("NTXent", ()), ("SupCR", ("two axes", "pmap, inside"))):
        loss, *rows = CALLS[name]
        ways = {
            "two axes": partial(mapped, loss, rows, two, ("d", "m")),
            "explicit": partial(mapped, loss, rows, mesh_of(8, kind=EXPLICIT)),
            "unchecked": partial(mapped, loss, rows, one, check_vma=False),
            "pmap": partial(pmapped, loss, rows),
            "pmap, inside": partial(pmapped_inside, loss, rows),
        }
        for way in some or ways:
            print(f"{name}; {way}:", difference(ways[way](), whole(loss, rows)))
    loss, *rows = CALLS["InfoNCE with a queue"]
    print("a whole queue:", difference(mapped(loss, rows, one, queue=2), whole(loss, rows)))
    print("weights and temperature:", difference(*learned(one, inside=False)))
    print("the same, unchecked:", difference(*learned(one, inside=False, check_vma=False)))
    print("the same, inside:", difference(*learned(one, inside=True)))
    print("a bias:", difference(*bias(one)))
    with optimised():
        for size in (1e3, 1e7):
            print(f"hostile {size}:", hostile(size))
    return None


if __name__ == "__main__":
    for task in "\0".join(sys.argv[1:]).split("\0--\0"):
        what, *names = task.split("\0")
        print("--")
        main(what, names)
