"""Threads over tiles: the same bits for every number of them."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.frameworks.numpy import threads


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_item_is_worked_on_once_and_stays_in_its_place(workers):
    seen = []

    def square(k):
        seen.append(k)
        return k * k

    with threads.pool(workers) as run:
        assert run(square, range(40)) == [k * k for k in range(40)]
        assert run(square, []) == []
    assert sorted(seen) == list(range(40))


def test_threads_work_side_by_side_with_their_caller():
    both = threading.Barrier(2, timeout=120)

    def meet(_):
        both.wait()  # which one thread alone would not leave
        return threading.get_ident()

    with threads.pool(2) as run:
        names = run(meet, range(2))
    assert len(set(names)) == 2
    assert threading.get_ident() in names


@pytest.mark.parametrize("at", [0, 7])
def test_what_a_thread_raises_reaches_the_caller(at):
    def fail(k):
        if k == at:
            raise ZeroDivisionError(k)

    with threads.pool(2) as run, pytest.raises(ZeroDivisionError):
        run(fail, range(8))


def test_callers_that_share_threads_do_not_wait_for_each_other():
    def outer(k):
        with threads.pool(2) as run:
            return sum(run(lambda x: x + k, range(5)))

    with threads.pool(2) as run:
        assert run(outer, range(6)) == [10 + 5 * k for k in range(6)]


def test_blas_is_held_once_and_let_go_by_the_last(monkeypatch):
    """A limit taken inside another would restore the one thread of the outer."""
    seen = []

    class Controller:
        def limit(self, **how):
            seen.append(how)
            return self

        def restore_original_limits(self):
            seen.append("restored")

    monkeypatch.setattr(threads, "_controller", Controller)
    with threads.pool(2):
        with threads.pool(2):
            assert seen == [{"limits": 1, "user_api": "blas"}]
        assert len(seen) == 1
    assert seen[1:] == ["restored"]


FORK = """
import os, signal, threading
from nearfar.frameworks.numpy import threads

with threads.pool(2) as run:
    run(str, range(4))
with threads._ONE_THREAD._lock:  # as another thread may hold it that moment
    child = os.fork()
    if not child:
        signal.alarm(120)
        both = threading.Barrier(2, timeout=60)
        with threads.pool(2) as run:
            run(lambda _: both.wait(), range(2))
        os._exit(0)
raise SystemExit(os.waitpid(child, 0)[1] != 0)
"""


def test_a_forked_child_has_threads_and_a_lock_of_its_own():
    if not hasattr(os, "fork"):
        pytest.skip("nothing forks here")
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True)


LOSSES = {
    "ntxent": nf.NTXent(),
    "guarded": nf.NTXent(temperature=0.01),
    "all": nf.SupCon(),
    "own_positive": nf.SupCon(denominator="own_positive"),
    "own_log": nf.SupCon(denominator="own_positive", positives="log_sum"),
    "euclidean": nf.SupCon(similarity="neg_euclidean"),
    "hcl": nf.HCL(),
    "clip": nf.CLIP(),
    "clip-guarded": nf.CLIP(temperature=0.01),
    "siglip": nf.SigLIP(),
    "supcr": nf.SupCR(),
    "triplet": nf.Triplet(),
}


BY_ROWS = {
    "siglip": nf.SigLIP(),
    "infonce": nf.InfoNCE(),
    "infonce-euclidean": nf.InfoNCE(similarity="neg_euclidean", temperature=0.5),
    "supcr": nf.SupCR(),
    "pairs": nf.PairMargin(),
    **{m: nf.BatchTriplet(mining=m) for m in ("all", "hard", "semihard", "all_semihard")},
}


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("name", BY_ROWS)
def test_parts_of_a_block_side_by_side(name, near):
    """So many rows that a block of anchors is cut into parts; near ones are told apart exactly."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1100, 12))
    if near:
        x[700] = x[3] + 1e-4
    labels = rng.integers(0, 40, size=len(x))
    loss = BY_ROWS[name]
    inputs = (x, labels) if len({*loss.embeddings} - {*loss.optional}) == 1 else (x[:550], x[550:])
    value, gradients = loss.with_options(workers=1).value_and_grad(*inputs)
    other, others = loss.with_options(workers=3).value_and_grad(*inputs)
    assert other == value
    tensors = [torch.tensor(x, requires_grad=x.dtype == float) for x in inputs]
    in_one_go = loss(*tensors)
    in_one_go.backward()
    assert value == pytest.approx(in_one_go.item(), rel=1e-12)
    for a, b, tensor in zip(gradients, others, tensors, strict=False):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, tensor.grad, atol=1e-12 * np.abs(a).max(), rtol=1e-9)


def test_near_rows_keep_their_digits_among_threads():
    """The candidate of a near pair gets its gradient from differences too."""
    x = np.random.default_rng(7).normal(size=(1100, 12)).astype(np.float32)
    x[800] = x[3] + np.float32(1e-4)
    loss = nf.InfoNCE(similarity="neg_euclidean", temperature=0.5, reduction="sum")
    wide = x.astype(np.float64)
    _, (_, got) = loss.with_options(workers=2).value_and_grad(x[:550], x[550:])
    _, (_, want) = loss.value_and_grad(wide[:550], wide[550:])
    np.testing.assert_allclose(got[250], want[250], atol=1e-5 * np.abs(want[250]).max())


@pytest.mark.parametrize("name", LOSSES)
def test_bits_do_not_depend_on_workers(name):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(150, 9)).astype(np.float32)
    # Large, small and single classes, so that every kind of tile occurs.
    labels = np.r_[np.zeros(60), np.ones(40), rng.integers(2, 9, 49), 99]
    kind = type(LOSSES[name])
    if kind is nf.Triplet:
        inputs = x[:50], x[50:100], x[100:]
    else:
        inputs = (
            (x, labels) if len({*kind.embeddings} - {*kind.optional}) == 1 else (x[:75], x[75:])
        )
    results = [
        LOSSES[name].with_options(tile=16, workers=workers).value_and_grad(*inputs)
        for workers in (1, 2, 3, 5)
    ]
    value, gradients = results[0]
    for other, others in results[1:]:
        assert other == value
        for a, b in zip(gradients, others, strict=True):
            np.testing.assert_array_equal(a, b)
    alone, without = LOSSES[name].with_options(tile=16).value_and_grad(*inputs)
    assert alone == pytest.approx(value, rel=1e-6)
    for a, b in zip(gradients, without, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(b).max())
