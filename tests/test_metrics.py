"""nearfar.metrics against loops read off the papers, scikit-learn, and by its stated rules."""

import math
import subprocess
import sys

import numpy as np
import pytest
from oracles import metrics as oracle
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from nearfar import metrics
from nearfar.metrics import arrays, search

RETRIEVAL = {
    "knn_accuracy": {"k": 3},
    "recall_at_k": {"k": 2},
    "r_precision": {},
    "map_at_r": {},
}
both_ways = pytest.mark.parametrize("with_reference", [False, True])


def blobs(seed, n=40, d=5, classes=4):
    """Overlapping classes of unequal size, in no order."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.integers(0, classes + 2, n), classes - 1)
    centres = rng.standard_normal((classes, d))
    return centres[labels] + rng.standard_normal((n, d)), labels


def queries_and_rows(with_reference, **options):
    x, y = blobs(0, **options)
    return (x, y, *blobs(1, n=33)) if with_reference else (x, y)


class TestAgainstLoops:
    @both_ways
    @pytest.mark.parametrize("metric", search.METRICS)
    @pytest.mark.parametrize("name", RETRIEVAL)
    def test_retrieval(self, name, metric, with_reference):
        data = queries_and_rows(with_reference)
        got = getattr(metrics, name)(*data, metric=metric, **RETRIEVAL[name])
        assert type(got) is float
        assert got == pytest.approx(
            getattr(oracle, name)(*data, metric=metric, **RETRIEVAL[name]), abs=1e-12
        )
        assert 0 < got < 1

    @both_ways
    @pytest.mark.parametrize("name", RETRIEVAL)
    @pytest.mark.parametrize("metric", search.METRICS)
    def test_ties_are_taken_in_the_order_of_the_rows(self, name, metric, with_reference):
        # Small integers: most distances occur many times, many rows are duplicates, some zero.
        rng = np.random.default_rng(3)
        x, rows = rng.integers(-1, 2, (30, 3)), rng.integers(-1, 2, (25, 3))
        if metric == "cosine":  # where equal cosines of different rows differ by rounding
            x, rows = (
                np.where((a == a[:, :1]).all(axis=1, keepdims=True), a, 0) for a in (x, rows)
            )
        y, row_y = rng.integers(0, 3, 30), rng.integers(0, 3, 25)
        data = (x, y, rows, row_y) if with_reference else (x, y)
        got = getattr(metrics, name)(*data, metric=metric, **RETRIEVAL[name])
        want = getattr(oracle, name)(*data, metric=metric, **RETRIEVAL[name])
        assert got == pytest.approx(want, abs=1e-12)

    @both_ways
    @pytest.mark.parametrize("metric", ["euclidean", "cosine", "cityblock"])
    def test_knn_r2(self, metric, with_reference):
        data = [
            a if a.ndim == 2 else a + np.sin(3.0 * np.arange(len(a)))
            for a in queries_and_rows(with_reference)
        ]
        got = metrics.knn_r2(*data, k=4, metric=metric)
        assert type(got) is float
        assert got == pytest.approx(oracle.knn_r2(*data, k=4, metric=metric), abs=1e-12)

    @pytest.mark.parametrize("alpha", [0.5, 1, 2, 3])
    def test_alignment(self, alpha):
        x, y = blobs(4)
        got = metrics.alignment(x, y, alpha=alpha)
        assert type(got) is float
        assert got == pytest.approx(oracle.alignment(x, y, alpha=alpha), rel=1e-12)

    @pytest.mark.parametrize("alpha", [0.5, 2])
    def test_alignment_of_two_views(self, alpha):
        a, b = blobs(5)[0], blobs(6)[0]
        got = metrics.alignment(a, b, alpha=alpha)
        assert got == pytest.approx(oracle.alignment_of_views(a, b, alpha=alpha), rel=1e-12)

    @pytest.mark.parametrize("t", [0.01, 2, 1e4])
    def test_uniformity(self, t):
        x, _ = blobs(7)
        got = metrics.uniformity(x, t=t)
        assert type(got) is float
        assert got == pytest.approx(oracle.uniformity(x, t=t), rel=1e-11)

    @pytest.mark.parametrize("shape", [(40, 5), (5, 40)])
    def test_effective_rank(self, shape):
        x = np.random.default_rng(8).standard_normal(shape) * np.arange(1, shape[1] + 1)
        got = metrics.effective_rank(x)
        assert type(got) is float
        assert got == pytest.approx(oracle.effective_rank(x), rel=1e-6)


class TestAgainstScikitLearn:
    @pytest.mark.parametrize("k", [1, 2, 7])
    def test_knn_accuracy(self, k):
        x, y, rows, row_y = queries_and_rows(True)
        want = KNeighborsClassifier(k).fit(rows, row_y).score(x, y)
        assert metrics.knn_accuracy(x, y, rows, row_y, k=k) == pytest.approx(want)

    def test_knn_r2_of_several_targets(self):
        x, _, rows, _ = queries_and_rows(True)
        y, row_y = x[:, :2] ** 2, rows[:, :2] ** 2
        want = KNeighborsRegressor(4).fit(rows, row_y).score(x, y)
        assert metrics.knn_r2(x, y, rows, row_y, k=4) == pytest.approx(want)


class TestRules:
    def test_a_tied_vote_goes_to_the_label_that_sorts_first(self):
        rows = [[1.0], [2.0]]
        for labels in (["b", "a"], ["a", "b"]):
            assert metrics.knn_accuracy([[0.0]], ["a"], rows, labels, k=2) == 1.0
            assert metrics.knn_accuracy([[0.0]], ["b"], rows, labels, k=2) == 0.0

    @pytest.mark.parametrize("name", RETRIEVAL)
    def test_one_class_is_perfect(self, name):
        x, y = blobs(9)
        assert getattr(metrics, name)(x, np.zeros_like(y), **RETRIEVAL[name]) == 1.0

    @pytest.mark.parametrize("metric", search.METRICS)
    def test_a_query_finds_its_duplicate_and_never_itself(self, metric):
        x = np.repeat([[0.1, 0.7], [0.7, 0.1]], 2, axis=0)  # (4, 2), two pairs of duplicates
        assert metrics.recall_at_k(x, [0, 1, 2, 1], k=1, metric=metric) == 0.0
        assert metrics.recall_at_k(x, [0, 0, 1, 1], k=1, metric=metric) == 1.0

    @pytest.mark.parametrize("name", ["recall_at_k", "r_precision", "map_at_r"])
    def test_queries_with_nothing_to_find_do_not_count(self, name):
        x = [[0.0], [1.0], [2.0], [8.0], [9.0]]
        assert getattr(metrics, name)(x, ["a", "a", "lone", "b", "b"]) == 1.0

    def test_r_precision_ignores_the_order_that_map_at_r_rewards(self):
        rows = [[1.0], [2.0], [3.0], [4.0]]
        early, late = ["a", "b", "a", "b"], ["b", "a", "b", "a"]
        for labels, score in ((early, 0.5), (late, 0.25)):
            assert metrics.r_precision([[0.0]], ["a"], rows, labels) == 0.5
            assert metrics.map_at_r([[0.0]], ["a"], rows, labels) == score

    def test_cosine_ignores_length_and_ranks_a_zero_row_at_cosine_zero(self):
        rows = [[1.0, 1e-3], [0.0, 0.0], [-1.0, 0.0]]
        found = [
            metrics.recall_at_k([[1e5, 0.0]], [0], rows, labels, k=2, metric="cosine")
            for labels in ([0, 1, 1], [1, 0, 1], [1, 1, 0])
        ]
        assert found == [1.0, 1.0, 0.0]

    @pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e20, 1e300])
    @pytest.mark.parametrize("metric", search.METRICS)
    def test_scale_changes_nothing(self, metric, scale):
        x, y = blobs(10)
        for name, options in RETRIEVAL.items():
            measure = getattr(metrics, name)
            assert measure(x * scale, y, metric=metric, **options) == pytest.approx(
                measure(x, y, metric=metric, **options), abs=1e-12
            )

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_scale_changes_no_spread(self, scale):
        x, y = blobs(10)
        assert metrics.alignment(x * scale, y) == pytest.approx(metrics.alignment(x, y))
        assert metrics.uniformity(x * scale) == pytest.approx(metrics.uniformity(x))
        assert metrics.effective_rank(x * scale) == pytest.approx(metrics.effective_rank(x))

    def test_near_rows_far_from_the_origin_keep_their_order(self):
        # Squared distances of 1e-10 beside squared norms of 1e12 vanish in a matrix product.
        near = np.array([[0.0], [1.0], [3.0], [4.5]]) * 1e-5
        x = np.vstack([near + 1e6, -near - 1e6])
        labels = [0, 0, 1, 1, 2, 2, 3, 3]
        assert metrics.recall_at_k(x, labels) == 1.0
        assert metrics.recall_at_k(x, [0, 1, 0, 1, 2, 3, 2, 3]) == 0.0

    def test_integers_lists_and_float32_are_accepted(self):
        x, y = blobs(11)
        x = np.round(x * 8)
        for same in (x.astype(int), x.astype(np.float32), x.tolist()):
            assert metrics.map_at_r(same, y.tolist()) == metrics.map_at_r(x, y)
            assert metrics.uniformity(same) == metrics.uniformity(x)

    @pytest.mark.parametrize("as_labels", [np.array(list("dcba")), np.array([9, 7, 5, 3]) / 2])
    def test_labels_of_any_kind(self, as_labels):
        x, y = blobs(12)
        for name, options in RETRIEVAL.items():
            measure = getattr(metrics, name)
            assert measure(x, as_labels[y], **options) == measure(x, 3 - y, **options)
        assert metrics.alignment(x, as_labels[y]) == pytest.approx(metrics.alignment(x, y))

    def test_inputs_are_left_as_they_are(self):
        x, y = blobs(13)
        x.setflags(write=False)
        y.setflags(write=False)
        for name, options in RETRIEVAL.items():
            getattr(metrics, name)(x, y, **options)
        metrics.knn_r2(x, y, k=2)
        metrics.alignment(x, y)
        metrics.uniformity(x)
        metrics.effective_rank(x)

    def test_a_constant_target_is_predicted_or_not(self):
        x = [[0.0], [1.0], [5.0]]
        assert metrics.knn_r2(x, [2.0, 2.0, 2.0], k=1) == 1.0
        assert metrics.knn_r2(x[:2], [2.0, 2.0], x, [1.0, 1.0, 1.0], k=1) == 0.0


class TestSpread:
    def test_coinciding_rows(self):
        x = np.tile([0.3, -0.7, 0.2], (50, 1))
        assert metrics.alignment(x, np.zeros(50)) == pytest.approx(0, abs=1e-30)
        assert metrics.alignment(x, np.zeros(50), alpha=1) == 0
        assert metrics.uniformity(x) == pytest.approx(0, abs=1e-14)
        assert metrics.uniformity(x) <= 0
        assert metrics.effective_rank(x) == pytest.approx(1)

    def test_nearly_coinciding_rows_keep_their_digits(self):
        angle = 1e-9 * np.arange(4)
        x = np.column_stack([np.cos(angle), np.sin(angle)])
        squares = [(i - j) ** 2 for i in range(4) for j in range(i)]
        want = 1e-18 * np.mean(squares)
        assert metrics.alignment(x, [0, 0, 0, 0]) == pytest.approx(want, rel=1e-6)

    def test_zero_rows_stay_zero(self):
        x = [[0.0, 0.0], [3.0, 0.0], [0.0, 0.0]]
        assert metrics.alignment(x, [0, 0, 1]) == 1.0
        assert metrics.alignment(x, [0, 1, 0], alpha=1) == 0.0
        assert metrics.uniformity(x, t=1) == pytest.approx(math.log((1 + 2 * math.exp(-1)) / 3))

    def test_uniformity_survives_where_every_exponential_underflows(self):
        x = np.array([[1.0, 0.0], [-1.0, 0.0]])
        assert metrics.uniformity(x, t=1e6) == pytest.approx(-4e6)

    def test_effective_rank_is_not_centred(self):
        assert metrics.effective_rank(np.full((6, 3), 2.0)) == pytest.approx(1)
        assert metrics.effective_rank(np.eye(4) * 7) == pytest.approx(4)


class TestTiles:
    @pytest.mark.parametrize("tile", [1, 45, 130, 2**20])
    @pytest.mark.parametrize("metric", ["euclidean", "cosine", "cityblock"])
    def test_retrieval_does_not_depend_on_them(self, tile, metric, monkeypatch):
        # A tenth of these rows have duplicates, half their coordinates are shared.
        x, y = blobs(14, n=60)
        x[::10] = x[1]
        x[:, 0] = np.round(x[:, 0])
        calls = [(getattr(metrics, name), options) for name, options in RETRIEVAL.items()]
        calls.append((metrics.knn_r2, {"k": 5}))
        want = [measure(x, y, metric=metric, **options) for measure, options in calls]
        monkeypatch.setattr(arrays, "TILE", tile)
        got = [measure(x, y, metric=metric, **options) for measure, options in calls]
        assert got == pytest.approx(want, abs=1e-13)

    @pytest.mark.parametrize("tile", [1, 45, 130, 60 * 59])
    def test_spread_does_not_depend_on_them(self, tile, monkeypatch):
        x, y = blobs(15, n=60)
        x[-5:] = x[-5]  # the last tiles hold the nearest pairs

        def measures():
            return [
                metrics.alignment(x, y, alpha=1),
                metrics.uniformity(x),
                metrics.uniformity(x, t=1000),
            ]

        want = measures()
        monkeypatch.setattr(arrays, "TILE", tile)
        assert measures() == pytest.approx(want, rel=1e-13)


class TestErrors:
    @pytest.mark.parametrize("name", [*RETRIEVAL, "knn_r2"])
    @pytest.mark.parametrize(
        ("args", "error", "message"),
        [
            (([1.0, 2.0], [0, 0]), ValueError, r"embeddings must have shape \(n, d\).*\(2,\)"),
            ((np.empty((0, 3)), []), ValueError, r"embeddings must have shape .*\(0, 3\)"),
            (([[1.0], [2.0, 3.0]], [0, 0]), ValueError, "embeddings must be an array of numbers"),
            (([["a"], ["b"]], [0, 0]), TypeError, "embeddings must hold real numbers.*<U1"),
            (([[1j], [2j]], [0, 0]), TypeError, "embeddings must hold real numbers.*complex"),
            (([[0], [math.nan]], [0, 0]), ValueError, "embeddings must be finite.*row 1"),
            (([[0], [math.inf]], [0, 0]), ValueError, "embeddings must be finite.*row 1"),
            (([[0], [1]], [0, 0, 0]), ValueError, r"(labels|targets) must have shape \(2,\)"),
            (([[0], [1]], [0, math.nan]), ValueError, "(labels|targets) must .*NaN.*row 1"),
            (([[0], [1]], [0, 0], [[1]]), ValueError, "reference alone: give reference_"),
            (([[0], [1]], [0, 0], None, [1]), ValueError, "reference_.* alone: give reference"),
            (([[0], [1]], [0, 0], [[1, 2]], [1]), ValueError, r"the 1 columns .*\(1, 2\)"),
            (([[0], [1]], [0, 0], [[1]], [1, 2]), ValueError, r"reference_.*\(1,\).*\(2,\)"),
        ],
    )
    def test_bad_arrays(self, name, args, error, message):
        with pytest.raises(error, match=message):
            getattr(metrics, name)(*args)

    @pytest.mark.parametrize("name", RETRIEVAL)
    def test_bad_labels(self, name):
        measure = getattr(metrics, name)
        with pytest.raises(ValueError, match=r"shape \(3, 1\): use labels.ravel\(\)"):
            measure(np.eye(3), [[0], [0], [1]])
        for args in (
            (np.eye(3), [0, 0, 1], np.eye(3), ["0", "0", "1"]),
            (np.eye(3), np.array([0, "0", 1], dtype=object)),
        ):
            with pytest.raises(TypeError, match="labels must hold labels of one kind that sort"):
                measure(*args)

    @pytest.mark.parametrize("name", ["knn_accuracy", "knn_r2", "recall_at_k"])
    def test_bad_k(self, name):
        measure, y = getattr(metrics, name), [0, 0, 1]
        for k in (0, 3):
            with pytest.raises(ValueError, match=f"k must be from 1 to 2, .* received {k}"):
                measure(np.eye(3), y, k=k)
        with pytest.raises(ValueError, match="k must be from 1 to 3, the rows of reference"):
            measure(np.eye(3), y, np.eye(3), y, k=4)
        for k in (1.0, True, "1"):
            with pytest.raises(TypeError, match="k must be an integer, received"):
                measure(np.eye(3), y, k=k)

    @pytest.mark.parametrize("name", ["knn_accuracy", "knn_r2", "recall_at_k"])
    def test_one_row_has_no_neighbour(self, name):
        with pytest.raises(ValueError, match=r"at least 2.*received 1"):
            getattr(metrics, name)([[1.0, 2.0]], [0], k=1)

    @pytest.mark.parametrize("name", ["recall_at_k", "r_precision", "map_at_r"])
    def test_nothing_to_find(self, name):
        measure = getattr(metrics, name)
        with pytest.raises(ValueError, match="another row of labels, received none"):
            measure(np.eye(3), [0, 1, 2])
        with pytest.raises(ValueError, match="reference_labels, received none"):
            measure(np.eye(3), [0, 0, 0], np.eye(3), [1, 1, 1])

    @pytest.mark.parametrize("name", [*RETRIEVAL, "knn_r2"])
    def test_bad_metric(self, name):
        with pytest.raises(ValueError, match=r"metric must be one of euclidean, .*'mahalanobis'"):
            getattr(metrics, name)(*blobs(0), metric="mahalanobis")

    def test_targets_of_different_widths(self):
        with pytest.raises(ValueError, match=r"same columns.*\(3, 2\) and \(3,\)"):
            metrics.knn_r2(np.eye(3), np.ones((3, 2)), np.eye(3), np.ones(3), k=1)

    def test_one_query_has_no_r2(self):
        with pytest.raises(ValueError, match="knn_r2 needs at least 2 embeddings"):
            metrics.knn_r2([[1.0]], [1.0], [[1.0]], [1.0], k=1)

    def test_alignment(self):
        with pytest.raises(ValueError, match=r"labels of shape \(3,\) or a second view"):
            metrics.alignment(np.eye(3), np.ones((3, 2)))
        with pytest.raises(ValueError, match="labels that all differ: give some label to two"):
            metrics.alignment(np.eye(3), [0, 1, 2])
        for alpha in (0, -1, math.nan, math.inf):
            with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
                metrics.alignment(np.eye(3), [0, 0, 1], alpha=alpha)

    def test_uniformity(self):
        with pytest.raises(ValueError, match="at least 2 embeddings, received 1"):
            metrics.uniformity([[1.0, 2.0]])
        with pytest.raises(ValueError, match="t must be a finite number above 0, received -2"):
            metrics.uniformity(np.eye(3), t=-2)

    def test_effective_rank_of_zeros(self):
        with pytest.raises(ValueError, match="embeddings must have a nonzero entry"):
            metrics.effective_rank(np.zeros((3, 2)))


def test_importing_needs_neither_scikit_learn_nor_scipy():
    script = "import sys, nearfar.metrics; sys.exit(bool({'sklearn', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


MEMORY = """
import resource
import numpy as np
import scipy.spatial.distance
import sklearn.metrics
from nearfar import metrics

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB on Linux

rng = np.random.default_rng(0)
x = rng.standard_normal(({n}, 64))
y = rng.integers(0, {classes}, {n})
metrics.knn_accuracy(x[:50], y[:50])  # loads what the first call loads
before = peak()
{call}
print(peak() - before)
"""


def growth(call, n, classes):
    """MiB by which a call's own process grows beyond its inputs."""
    script = MEMORY.format(call=call, n=n, classes=classes)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
class TestMemory:
    """At n = 20,000 one n x n array of float64 is 3,050 MiB."""

    @pytest.mark.parametrize(
        "call",
        ["metrics.knn_accuracy(x, y)", "metrics.uniformity(x)", "metrics.alignment(x, y, alpha=1)"],
    )
    def test_small(self, call):
        assert growth(call, n=6_000, classes=10) < 150  # an n x n array: 275

    @pytest.mark.long
    @pytest.mark.parametrize(
        "call",
        [
            "metrics.knn_accuracy(x, y)",
            "metrics.knn_r2(x, y.astype(float))",
            "metrics.recall_at_k(x, y, metric='cosine')",
            "metrics.map_at_r(x, y)",
            "metrics.map_at_r(np.ones_like(x), y)",
            "metrics.r_precision(np.round(x[:, :8]), y, metric='cityblock')",
            "metrics.uniformity(x)",
            "metrics.alignment(x, y)",
            "metrics.alignment(x, y, alpha=1)",
            "metrics.effective_rank(x)",
        ],
    )
    def test_full_size(self, call):
        assert growth(call, n=9_000, classes=2) < 200  # a square of float64 takes 618
