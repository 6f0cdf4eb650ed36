"""Tiles that pass 1 leaves for pass 2 change time and memory, and nothing else."""

import weakref

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.evaluate.partition.exponentials import DIRECT, STREAMING, exponentials_for
from nearfar.evaluate.partition.tile_cache import TileCache
from nearfar.evaluate.plan import uniform
from nearfar.frameworks.memory import Spare, Stores
from nearfar.frameworks.numpy.namespace import NumPy
from nearfar.frameworks.torch import namespace as torch_framework

ROWS, TILE = 96, 16
# Six blocks of 16 rows a side: 21 tiles of 1 KiB in float32, beside four that each thread works in.
ONE = TILE * TILE * 4
MEMORY = {"none": 1, "some": (4 + 10) * ONE, "all": 64 * 2**20}

LOSSES = {
    "ntxent": nf.NTXent(temperature=0.2),
    "guarded": nf.NTXent(temperature=0.01),
    "euclidean": nf.NTXent(similarity="neg_euclidean"),
    "supcon": nf.SupCon(),
    "own": nf.SupCon(denominator="own_positive"),
    "own-euclidean": nf.SupCon(denominator="own_positive", similarity="neg_euclidean"),
    "own-log": nf.SupCon(denominator="own_positive", positives="log_sum"),
    "hcl": nf.HCL(),
    "hcl-guarded": nf.HCL(temperature=0.02),
    "hcl-half": nf.HCL(beta=0.5),
    "clip": nf.CLIP(),
    "clip-ids": nf.CLIP(temperature=0.2),
    "clip-self": nf.CLIP(exclude=nf.Exclude(by="self", margin=0.1)),
    "clip-guide": nf.CLIP(exclude=nf.Exclude(margin=0.1)),
    "ntxent-guide": nf.NTXent(exclude=nf.Exclude(margin=-0.1), temperature=0.2),
}
NAMED = {
    "clip-ids": {"ids": np.arange(ROWS // 2)[::-1] // 3},
    "clip-guide": {"guide": tuple(np.random.default_rng(8).normal(size=(2, ROWS // 2, 4)))},
}
NAMED["ntxent-guide"] = NAMED["clip-guide"]


def inputs(loss):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, 5)).astype(np.float32)
    if len({*loss.embeddings} - {*loss.optional}) == 1:
        return x, np.r_[np.zeros(40), rng.integers(1, 9, ROWS - 40)]
    return x[: ROWS // 2], (x[: ROWS // 2] + 0.7 * x[ROWS // 2 :])


def store(memory):
    plan = uniform(ROWS, TILE, 2)
    return TileCache(NumPy(), plan, memory - 4 * ONE, np.zeros(1, np.float32))


def test_room_for_none_some_and_all():
    kept = {name: len(store(memory)) for name, memory in MEMORY.items()}
    assert kept == {"none": 0, "some": 10, "all": 21}


def test_too_few_to_matter():
    """An eighth of the tiles is worth their memory, less is not."""
    assert len(store((4 + 2) * ONE)) == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_values_agree_whatever_is_kept(framework, name):
    loss = LOSSES[name]
    given, named = inputs(loss), NAMED.get(name, {})
    if framework == "torch":
        given = tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in given)
    found = [
        loss.with_options(tile=TILE, memory=memory, workers=1).value_and_grad(*given, **named)
        for memory in MEMORY.values()
    ]
    value, gradients = found[0]
    for other, others in found[1:]:
        assert float(other) == float(value)
        for a, b in zip(gradients, others, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    "name", ["ntxent", "supcon", "hcl", "clip", "own", "clip-ids", "clip-self", "clip-guide"]
)
@pytest.mark.parametrize("memory", MEMORY)
def test_bits_do_not_depend_on_workers(name, memory):
    loss, given = LOSSES[name], inputs(LOSSES[name])
    room, named = MEMORY[memory], NAMED.get(name, {})
    one = loss.with_options(tile=TILE, memory=room, workers=1)
    value, gradients = one.value_and_grad(*given, **named)
    for workers in (2, 3, 5):
        several = loss.with_options(tile=TILE, memory=room, workers=workers)
        other, others = several.value_and_grad(*given, **named)
        assert other == value
        for a, b in zip(gradients, others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_second_gradient_needs_nothing_kept():
    """The first consumes the tiles; with another upstream gradient the second is right too."""
    loss = nf.NTXent(temperature=0.2).with_options(tile=TILE)
    a, b = (torch.from_numpy(x).requires_grad_() for x in inputs(loss))
    value = loss(a, b)
    (first,) = torch.autograd.grad(value, a, retain_graph=True)
    (second,) = torch.autograd.grad(value, a, grad_outputs=torch.tensor(-3.0))
    assert first.abs().max() > 0
    torch.testing.assert_close(second, -3 * first, rtol=1e-5, atol=1e-6)


def test_results_outlive_the_buffers():
    """What one call returns is not written over by the next."""
    loss = nf.SupCon()
    x, labels = inputs(loss)
    _, (gradient,) = loss.value_and_grad(x, labels)
    before = gradient.copy()
    loss.value_and_grad(x[::-1] * 3, labels)
    np.testing.assert_array_equal(gradient, before)


@pytest.mark.parametrize(
    ("bound", "itemsize", "kind"),
    [(40.0, 4, DIRECT), (40.1, 4, STREAMING), (300.0, 8, DIRECT), (float("nan"), 8, STREAMING)],
)
def test_where_exponentials_are_guarded(bound, itemsize, kind):
    assert exponentials_for(bound, itemsize) is kind


def test_both_sides_of_the_guard_agree():
    """1/temperature of 39.9 is safe, of 40.1 is not: the loss does not jump between them."""
    given = inputs(nf.NTXent())
    found = [nf.NTXent(temperature=1 / t).value_and_grad(*given) for t in (39.999, 40.001)]
    (value, gradients), (other, others) = found
    assert other == pytest.approx(value, rel=2e-4)
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=2e-4 * np.abs(a).max())


def test_room_is_lent_again_once_nobody_holds_it():
    rng = np.random.default_rng(17)
    a, b = (torch.tensor(rng.normal(size=(600, 16)), requires_grad=True) for _ in range(2))
    loss = nf.NTXent()
    held = loss(a, b)
    # A second graph is made and left while the first one waits: its room must be another.
    want = torch.autograd.grad(loss(b, 2 * a), (a, b))
    alone = nf.NTXent().with_options(memory=2**20)
    for values, inputs in ((want, (b, 2 * a)), (torch.autograd.grad(held, (a, b)), (a, b))):
        for got, expected in zip(values, torch.autograd.grad(alone(*inputs), (a, b)), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-14)
    (idle,) = torch_framework._STORES._idle
    loss(a, b).backward()
    assert [x.data_ptr() for x in torch_framework._STORES._idle] == [idle.data_ptr()]


class Owner:
    """Of a store, while it lives."""


def empty(size, like):
    return np.empty(size, like.dtype)


@pytest.mark.parametrize(("before", "after"), [("float64", "float32"), ("float32", "float64")])
def test_idle_room_is_lent_in_its_own_dtype_only(before, after):
    stores, size = Stores(empty), 2**16
    owner = Owner()
    stores.lend(owner, size, np.empty(0, before))
    del owner
    assert len(stores._idle) == 1
    assert stores.lend(Owner(), size, np.empty(0, after)).dtype == after


def test_buffers_in_use_are_nobody_elses():
    """Also those that were idle before: an evaluation inside another must not write to them."""
    spare = Spare(empty)
    with spare.lend() as first:
        pass
    with spare.lend() as outer, spare.lend() as inner:
        assert outer is first
        assert inner is not outer


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_of_losses_added_up_one_keeps_tiles_at_a_time(framework, monkeypatch):
    """So that what a call keeps is inside `memory=`, however many losses it is made of."""
    alive: weakref.WeakSet[TileCache] = weakref.WeakSet()
    counts, made = [], TileCache.__init__

    def counting(self, *given):
        made(self, *given)
        alive.add(self)
        counts.append(len(alive))

    monkeypatch.setattr(TileCache, "__init__", counting)
    # One thread: another may hold what it has done a moment longer.
    loss = nf.Matryoshka(nf.NTXent(), dims=(2, 3, 5)) + nf.DCL()
    loss = loss.with_options(tile=TILE, workers=1)
    a, b = inputs(nf.NTXent())
    if framework == "numpy":
        loss.value_and_grad(a, b)
    else:
        a, b = (torch.from_numpy(x).requires_grad_() for x in (a, b))
        loss(a, b).backward()
    assert counts == [1, 1, 1, 1]
