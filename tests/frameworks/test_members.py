"""Who counts in a tile: what stands in the place of the others, whatever stood there before."""

import numpy as np
import pytest
from support.backends import BACKENDS

from nearfar.frameworks import Block, namespace_of

ROWS = [0, 0, 1, 2, 2, 2]
COLUMNS = [2, 0, 0, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nothing", [0.0, -np.inf])
@pytest.mark.parametrize("alike", [True, False])
def test_members_stay_and_others_leave_nothing(framework, alike, nothing, dtype):
    same = np.equal.outer(ROWS, COLUMNS)
    kept = same if alike else ~same
    tile = np.random.default_rng(0).normal(size=same.shape).astype(dtype)
    tile[~kept] = np.resize([np.nan, np.inf, -np.inf, 1e30, -0.0], (~kept).sum())
    tile[0, 2 if kept[0, 2] else 0] = np.inf  # a member, which stays
    x = framework.asarray(tile.copy(), dtype)
    ns = namespace_of([("x", x)])
    rows, columns = (ns.codes(ns.asarray(c, x, ns.xp.int64), x) for c in (ROWS, COLUMNS))
    with ns.scratch() as scratch:
        members = ns.members(rows[:, None], columns[None, :], alike, x, scratch)
        got = ns.only_(x, members, nothing)
    assert framework.dtype(got) == dtype
    np.testing.assert_array_equal(framework.read(got), np.where(kept, tile, nothing))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_runs_along_the_diagonal(framework, width):
    tile = np.random.default_rng(1).normal(size=(6, 6))
    block, run = Block(12, 6), np.arange(6) // width
    x = framework.asarray(tile.copy())
    got = namespace_of([("x", x)]).fill_diagonal_(x, block, block, 7.0, width)
    want = np.where(np.equal.outer(run, run), 7.0, tile)
    np.testing.assert_array_equal(framework.read(got), want)


def test_many_classes_are_told_apart():
    """Codes are narrow where there are few."""
    x = np.zeros((2, 3), np.float32)
    ns = namespace_of([("x", x)])
    codes = ns.codes(np.array([1, 2**16 + 1, 2**15, 2**17 + 1, 1]), x)
    with ns.scratch() as scratch:
        members = ns.members(codes[:2, None], codes[None, 2:], True, x, scratch)
        np.testing.assert_array_equal(members, [[False, False, True], [False, False, False]])


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16, 24), (5, 7), (1, 1)])
def test_ones_and_zeros_where_arrays_are_written_to(name, shape, dtype):
    framework, rng = BACKENDS[name], np.random.default_rng(2)
    tile, limit = rng.normal(size=shape).astype(dtype), rng.normal(size=(shape[0], 1)).astype(dtype)
    limit[0], tile[0, 0] = tile[0, -1], np.nan if shape[1] > 1 else tile[0, 0]
    x = framework.asarray(tile.copy(), dtype)
    ns = namespace_of([("x", x)])
    codes = [rng.integers(0, 3, n) for n in shape]
    rows, columns = (ns.codes(ns.asarray(c, x, ns.xp.int64), x) for c in codes)
    with ns.scratch() as scratch:
        room = scratch.buffer("below", shape, x)
        below = ns.up_to_(x, framework.asarray(limit, dtype), room)
        np.testing.assert_array_equal(framework.read(below), tile <= limit)
        bits = ns.packed(below, scratch)
        again = ns.unpacked(bits, scratch.buffer("again", shape, x), scratch)
        np.testing.assert_array_equal(framework.read(again), tile <= limit)
        equal = ns.equal(rows[:, None], columns[None, :], x, scratch, "equal")
        np.testing.assert_array_equal(framework.read(equal), np.equal.outer(*codes))
        added = ns.add_times_(x, again, framework.asarray(limit, dtype))
        assert {framework.dtype(a) for a in (below, equal, added)} == {dtype}
    np.testing.assert_array_equal(framework.read(added), tile + (tile <= limit) * limit)
