"""What NumPy does along the rows of a matrix, against loops."""

import numpy as np
import pytest
from support.covering import sampled

from nearfar.frameworks.numpy import segments

WIDTHS = [1, 2, 31, 32, 33, 64, 70, 200]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_running_sums(width, reverse, dtype):
    x = np.random.default_rng(0).random((5, width)).astype(dtype)
    expected = np.zeros((5, width))
    for i in range(5):
        for k in range(width):
            expected[i, k] = sum(float(v) for v in (x[i, k:] if reverse else x[i, : k + 1]))
    found = segments.running_sum(x, reverse)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_running_sum_does_not_move_where_nothing_is_added(reverse):
    x = np.random.default_rng(1).random((4, 300)).astype(np.float32)
    x[:, 90:170] = 0
    found = segments.running_sum(x, reverse)[:, 90:169]
    np.testing.assert_array_equal(found, found[:, :1] + np.zeros_like(found))


@sampled("width, share, views, last", WIDTHS, [0.0, 0.05, 0.3, 0.95, 1.0], [1, 2, 3], [False, True])
def test_entries_of_runs(width, share, views, last):
    rng = np.random.default_rng(2)
    x, starts = rng.standard_normal((6, width)), rng.random((6, width)) >= share
    starts &= np.arange(width) % views == 0
    starts[:, 0] = True
    given = x.copy(), starts.copy()
    expected = x.copy()
    for i in range(6):
        for k in range(width):
            j = k
            if last:
                while j + 1 < width and not starts[i, j + 1]:
                    j += 1
            else:
                while not starts[i, j]:
                    j -= 1
            expected[i, k] = x[i, j]
    np.testing.assert_array_equal(segments.segment_fill(x, starts, last), expected)
    np.testing.assert_array_equal(x, given[0])
    np.testing.assert_array_equal(starts, given[1])


@pytest.mark.parametrize("last", [False, True])
def test_runs_of_two_views(last):
    x = np.random.default_rng(4).standard_normal((3, 41))
    starts = np.ones((3, 41), dtype=bool)
    starts[0, 1::2] = starts[1, 2::2] = starts[2, 2::3] = False
    found = segments.fill_short_segments(x, starts, last)
    assert found is not None
    of_pairs = x[0, 1:40:2] if last else x[0, 0:40:2]
    assert found[0, :40].tolist() == np.repeat(of_pairs, 2).tolist()
    assert found[2, 3 if last else 1] == x[2, 3 if last else 1]
    assert found[2, 1 if last else 2] == x[2, 2 if last else 1]


def test_many_long_runs_are_for_passes():
    x, starts = np.arange(32.0).reshape(1, 32), np.ones((1, 32), dtype=bool)
    starts[0, [3, 4, 9]] = False
    found = segments.fill_short_segments(x, starts, last=False)
    assert found is not None
    assert found[0, [2, 3, 4, 5, 9]].tolist() == [2, 2, 2, 5, 8]
    starts[0, 10:20] = False
    assert segments.fill_short_segments(x, starts, last=False) is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("ties", [1, 2, 9])
def test_merged_order_ascends(dtype, ties):
    rng = np.random.default_rng(3)
    targets = np.sort(np.repeat(rng.permutation(400)[: 180 // ties], ties)).astype(dtype)
    apart = np.abs(targets[:, None] - targets[None, :])
    np.fill_diagonal(apart, -1)
    order = segments.merge(apart)
    for k, (row, found) in enumerate(zip(apart, order, strict=True)):
        assert found[0] == k
        assert sorted(found.tolist()) == list(range(len(row)))
        assert (row[found][1:] >= row[found][:-1]).all()
