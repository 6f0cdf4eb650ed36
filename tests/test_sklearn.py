"""ContrastiveProjection: the map it promises, and everything scikit-learn expects of it."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from oracles.supcon import supcon
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nearfar import NTXent, SupCon, metrics
from nearfar.sklearn import ContrastiveProjection


@parametrize_with_checks([ContrastiveProjection(max_iter=20)])
def test_what_scikit_learn_expects(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def fitted(wine):
    return ContrastiveProjection(n_components=2).fit(*wine)


def blobs(n=12, d=4, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.standard_normal((3, d))[y] + 0.7 * rng.standard_normal((n, d)), y


class Recorder:
    """A loss that keeps what it is called with, and can be told to stop the search."""

    def __init__(self, inputs, stop_at=None):
        self.inputs = inputs
        self.stop_at = stop_at
        self.calls = []

    def __call__(self, embeddings, y):
        return float(np.square(embeddings).sum())

    def value_and_grad(self, embeddings, y):
        self.calls.append((embeddings, y))
        if self.stop_at == len(self.calls):
            raise KeyboardInterrupt
        return self(embeddings, y), (2 * embeddings,)


class TestMap:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("alpha", [0.0, 0.5])
    def test_it_is_a_minimum_of_the_stated_objective(self, alpha, seed, monkeypatch):
        monkeypatch.setattr("nearfar.linear_map.TOLERANCE", 1e-6)  # all the way down
        # In two dimensions some row is sure to pass the origin, where a cosine has no derivative.
        X, y = blobs(seed=seed)
        projection = ContrastiveProjection(2, SupCon(temperature=0.5), max_iter=1000, alpha=alpha)
        projection.fit(X, y)
        centred = X - X.mean(axis=0)
        variance = centred.var(axis=0).mean()

        def objective(parts):
            W, b = parts[:8].reshape(2, 4).T, parts[8:]
            Z = centred @ W
            lifted = np.column_stack([Z + b, np.full(len(Z), 0.01)])
            noise = variance * np.square(W).sum() / np.square(Z).sum(axis=1).mean()
            return supcon(lifted, y, temperature=0.5) + alpha * noise

        found = np.concatenate([projection.components_.ravel(), projection.intercept_])
        step = 1e-6
        slopes = [
            (objective(found + step * e) - objective(found - step * e)) / (2 * step)
            for e in np.eye(len(found))
        ]
        assert np.abs(slopes).max() < 0.02
        Z = centred @ projection.components_.T + projection.intercept_
        np.testing.assert_allclose(projection.transform(X), Z, rtol=1e-12)
        assert projection.loss_ == pytest.approx(supcon(Z, y, temperature=0.5), rel=1e-12)

    def test_the_loss_falls_with_every_iteration(self, wine):
        steps = []
        projection = ContrastiveProjection(2, max_iter=25)
        projection._fit(*wine, lambda *step: steps.append(step))
        assert [step[0] for step in steps] == list(range(1, len(steps) + 1))
        assert [step[2] for step in steps] == [None] * len(steps)
        values = [step[1] for step in steps]
        assert sorted(values, reverse=True) == values
        assert projection.n_iter_ == len(steps)
        assert values[-1] == pytest.approx(projection.loss_, abs=1e-3)

    def test_it_starts_at_the_principal_components(self, wine):
        X, y = wine
        loss = Recorder(("embeddings", "labels"), stop_at=1)
        projection = ContrastiveProjection(3, loss)._fit(X, y, lambda *step: None)
        assert projection.interrupted_
        assert projection.n_iter_ == 0
        Z = projection.transform(X)
        assert np.square(Z).sum(axis=1).mean() == pytest.approx(1)
        pca = PCA(3).fit_transform(X)
        np.testing.assert_allclose(Z, pca * np.linalg.norm(Z) / np.linalg.norm(pca), atol=1e-12)
        np.testing.assert_allclose(loss.calls[0][0][:, :-1], Z, atol=1e-14)

    def test_the_same_on_every_run(self, wine, fitted):
        again = ContrastiveProjection(n_components=2).fit(*wine)
        np.testing.assert_array_equal(again.components_, fitted.components_)
        np.testing.assert_array_equal(again.intercept_, fitted.intercept_)

    @pytest.mark.parametrize("unit", [2.0**-600, 2.0**-20, 2.0**20, 2.0**600])
    def test_the_unit_of_the_features_does_not_matter(self, wine, fitted, unit):
        X, y = wine
        other = ContrastiveProjection(n_components=2).fit(X * unit, y)
        np.testing.assert_allclose(other.transform(X * unit), fitted.transform(X), rtol=1e-6)

    def test_an_origin_far_away_does_not_matter(self, wine, fitted):
        X, y = wine
        other = ContrastiveProjection(n_components=2).fit(X + 2.0**20, y)
        assert other.loss_ == pytest.approx(fitted.loss_, rel=1e-4)

    def test_alpha_spares_noisy_directions(self, wine):
        X, y = wine
        ratios = []
        for alpha in (0.0, 1.0, 100.0):
            W = ContrastiveProjection(2, alpha=alpha).fit(X, y).components_.T
            ratios.append(np.square(W).sum() / np.square(X @ W).sum(axis=1).mean())
        assert ratios[0] > ratios[1] > ratios[2]
        # The principal components have the least noise for their signal.
        variances = PCA(2).fit(X).explained_variance_ * (len(X) - 1) / len(X)
        assert ratios[2] == pytest.approx(1 / variances[0], rel=0.1)

    def test_constant_features_are_left_alone(self, wine, fitted):
        X, y = wine
        # The mean of 178 times 0.1 is not 0.1, that of 1e20 / 3 is off by more than the features.
        padded = np.hstack([np.tile([0.0, 0.1, 1e20 / 3], (len(X), 1)), X])
        projection = ContrastiveProjection(2).fit(padded, y)
        assert projection.loss_ == pytest.approx(fitted.loss_, rel=2e-2)
        for n_components in (2, None):  # with None some components have no variance at all
            projection = ContrastiveProjection(n_components, max_iter=5).fit(padded, y)
            assert np.isfinite(projection.components_).all()
            assert not projection.components_[:, :3].any()

    def test_fewer_samples_than_features(self):
        X, y = blobs(n=6, d=10)
        Z = ContrastiveProjection(max_iter=20).fit_transform(X, y)
        assert Z.shape == (6, 10)
        assert np.isfinite(Z).all()
        assert not Z[:, 6:].any()

    def test_a_used_up_budget_is_no_warning(self, wine):
        assert ContrastiveProjection(2, max_iter=2).fit(*wine).n_iter_ == 2

    def test_digits_in_eight_dimensions(self):
        learned, pca = digits_accuracy(seed=0)
        assert learned >= pca + 0.04

    @pytest.mark.long
    def test_digits_over_five_splits(self):
        scores = np.array([digits_accuracy(seed) for seed in range(5)])
        gains = scores[:, 0] - scores[:, 1]
        # Under the paper's SupCon; the command line's convention gains more, on every split.
        assert gains.min() > 0
        assert gains.mean() > 0.035


def digits_accuracy(seed):
    """Held-out 3-NN accuracy of 8 learned dimensions (by the cosine) and of PCA's 8."""
    X, y = load_digits(return_X_y=True)
    X, held_out, y, held_out_y = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    scaler = StandardScaler().fit(X)
    X, held_out = scaler.transform(X), scaler.transform(held_out)
    return [
        metrics.knn_accuracy(
            space.transform(held_out), held_out_y, space.transform(X), y, **options
        )
        for space, options in (
            (ContrastiveProjection(8, random_state=seed).fit(X, y), {"metric": "cosine"}),
            (PCA(8, random_state=seed).fit(X), {}),
        )
    ]


class TestLabels:
    @pytest.mark.parametrize(
        "names", [np.array(["c", "a", "b"]), np.array([5.5, -1.0, 2.0]), np.array([True, False])]
    )
    def test_of_any_dtype(self, wine, names):
        X, y = wine
        y = y % len(names)
        want = ContrastiveProjection(2, max_iter=5).fit(X, y)
        for labels in (names[y], names[y].astype(object), pd.Series(names[y])):
            got = ContrastiveProjection(2, max_iter=5).fit(X, labels)
            np.testing.assert_allclose(got.components_, want.components_, rtol=1e-6)

    def test_multi_hot_labels_mean_the_same_as_classes(self, wine):
        X, y = wine
        want = ContrastiveProjection(2, max_iter=5).fit(X, y)
        got = ContrastiveProjection(2, max_iter=5).fit(X, np.eye(3, dtype=int)[y])
        np.testing.assert_allclose(got.components_, want.components_, rtol=1e-6)

    def test_a_column_is_taken_with_a_warning(self, wine):
        X, y = wine
        with pytest.warns(DataConversionWarning, match="column-vector"):
            ContrastiveProjection(2, max_iter=1).fit(X, y[:, None])

    def test_targets_reach_the_loss_as_they_are(self):
        X, _ = blobs()
        for y in (np.linspace(0, 1, 12), np.arange(12), np.ones((12, 2)).cumsum(axis=0)):
            loss = Recorder(("embeddings", "targets"))
            ContrastiveProjection(2, loss, max_iter=1).fit(X, y)
            np.testing.assert_array_equal(loss.calls[0][1], y, strict=True)


class TestJudged:
    def test_the_map_that_is_clearly_best_is_taken(self, wine):
        X, y = wine
        scores = iter([0.2, 0.5, 0.9, 0.7, 0.7, 0.7, 0.99])
        projection = ContrastiveProjection(2)._fit(
            X, y, judge=lambda embed: next(scores), tolerance=0.1, patience=3
        )
        assert (projection.n_iter_, projection.best_iter_) == (5, 2)
        two = ContrastiveProjection(2, max_iter=2).fit(X, y)
        np.testing.assert_array_equal(projection.transform(X), two.transform(X))

    def test_the_last_one_where_the_best_is_no_better_than_by_chance(self, wine):
        X, y = wine
        scores = iter([0.2, 0.5, 0.9, 0.85, 0.84, 0.99])
        projection = ContrastiveProjection(2)._fit(
            X, y, judge=lambda embed: next(scores), tolerance=0.1, patience=2
        )
        assert projection.best_iter_ == projection.n_iter_ == 4

    def test_the_start_where_nothing_learned_is_as_good(self, wine):
        X, y = wine
        scores = iter([0.9, 0.5, 0.6, 0.4])
        projection = ContrastiveProjection(2)._fit(
            X, y, judge=lambda embed: next(scores), patience=2
        )
        assert projection.best_iter_ == 0
        pca = PCA(2).fit_transform(X - X.mean(axis=0))
        Z = projection.transform(X)
        np.testing.assert_allclose(np.abs(np.corrcoef(Z.T, pca.T)[:2, 2:]), np.eye(2), atol=1e-9)

    def test_it_is_given_what_transform_will_give(self, wine):
        X, y = wine
        seen = []
        projection = ContrastiveProjection(2, max_iter=3)._fit(
            X, y, judge=lambda embed: seen.append(embed(X)) or 0.0
        )
        np.testing.assert_allclose(seen[-1], projection.transform(X), rtol=1e-9, atol=1e-12)


class TestInterruption:
    def test_a_callback_that_interrupts_keeps_the_best_so_far(self, wine):
        X, y = wine
        values = []

        def on_step(iteration, value, score):
            values.append(value)
            if iteration == 4:
                raise KeyboardInterrupt

        projection = ContrastiveProjection(2)._fit(X, y, on_step)
        assert projection.interrupted_
        assert projection.n_iter_ == 4
        assert projection.loss_ == pytest.approx(values[-1], abs=1e-3)
        four = ContrastiveProjection(2, max_iter=4).fit(X, y)
        np.testing.assert_array_equal(projection.transform(X), four.transform(X))

    def test_so_does_one_between_iterations(self):
        X, y = blobs()
        loss = Recorder(("embeddings", "labels"), stop_at=3)
        projection = ContrastiveProjection(2, loss)._fit(X, y, lambda *step: None)
        assert projection.interrupted_
        assert np.isfinite(projection.transform(X)).all()

    def test_fit_lets_it_through_and_stays_unfitted(self):
        X, y = blobs()
        projection = ContrastiveProjection(2, Recorder(("embeddings", "labels"), stop_at=3))
        with pytest.raises(KeyboardInterrupt):
            projection.fit(X, y)
        with pytest.raises(NotFittedError):
            projection.transform(X)

    def test_an_ordinary_fit_is_not_interrupted(self, fitted):
        assert fitted.interrupted_ is False


class TestTransformer:
    def test_dtype_in_is_dtype_out(self, wine, fitted):
        X, y = wine
        assert fitted.transform(X.astype(np.float32)).dtype == np.float32
        assert fitted.transform(np.round(X).astype(int)).dtype == np.float64
        single, double = (
            ContrastiveProjection(2, max_iter=3).fit(X.astype(dtype), y)
            for dtype in (np.float32, np.float64)
        )
        assert single.components_.dtype == np.float64
        np.testing.assert_allclose(single.transform(X), double.transform(X), atol=1e-5)

    def test_names(self, wine, fitted):
        X, y = wine
        frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])
        projection = ContrastiveProjection(2, max_iter=2).set_output(transform="pandas")
        out = projection.fit_transform(frame, y)
        assert projection.feature_names_in_.tolist() == frame.columns.tolist()
        assert out.columns.tolist() == ["contrastiveprojection0", "contrastiveprojection1"]
        assert out.columns.tolist() == projection.get_feature_names_out().tolist()
        assert not hasattr(fitted, "feature_names_in_")
        assert fitted.n_features_in_ == 13

    def test_a_notebook_shows_it(self):
        """scikit-learn takes the docstring apart for its diagram."""
        assert "n_components" in make_pipeline(ContrastiveProjection())._repr_html_()

    def test_clone_and_pickle(self, wine, fitted):
        X, _ = wine
        loaded = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
        copy = clone(ContrastiveProjection(4, SupCon(temperature=0.3)))
        assert copy.get_params() == {
            "n_components": 4,
            "loss": SupCon(temperature=0.3),
            "max_iter": 100,
            "alpha": 1e-5,
            "random_state": None,
        }

    def test_grid_search_over_loss_and_components(self, wine):
        X, y = wine
        pipeline = make_pipeline(
            StandardScaler(), ContrastiveProjection(max_iter=5), KNeighborsClassifier(3)
        )
        losses = [SupCon(temperature=0.1), SupCon(temperature=0.5, denominator="own_positive")]
        grid = {
            "contrastiveprojection__loss": losses,
            "contrastiveprojection__n_components": [1, 2, None],
        }
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
        assert search.best_score_ > 0.9
        assert search.best_params_["contrastiveprojection__loss"] in losses
        assert len(search.cv_results_["params"]) == 6


@dataclass(frozen=True)
class NoLoss:
    inputs: ClassVar = None


class TestErrors:
    @pytest.mark.parametrize(
        ("parameters", "error", "message"),
        [
            ({"n_components": 14}, ValueError, "n_components .* number of features, 13.* 14"),
            ({"n_components": 0}, ValueError, "n_components must be at least 1, received 0"),
            ({"n_components": 2.0}, TypeError, "n_components must be an integer, received 2.0"),
            ({"n_components": True}, TypeError, "n_components must be an integer"),
            ({"max_iter": 0}, ValueError, "max_iter must be at least 1, received 0"),
            ({"max_iter": None}, TypeError, "max_iter must be an integer, received None"),
            ({"alpha": -1}, ValueError, "alpha must be a finite number, at least 0, received -1"),
            ({"alpha": np.nan}, ValueError, "alpha must be a finite number"),
            ({"alpha": "1"}, TypeError, "alpha must be a number, received '1'"),
            ({"loss": NTXent()}, TypeError, r"such as SupCon\(\), .*NTXent.* takes \(a, b\)"),
            ({"loss": SupCon}, TypeError, "received the class SupCon: call it"),
            ({"loss": "supcon"}, TypeError, "'supcon', which has no inputs"),
            ({"loss": NoLoss()}, TypeError, "NoLoss.*, which has no inputs"),
        ],
    )
    def test_parameters(self, wine, parameters, error, message):
        with pytest.raises(error, match=message):
            ContrastiveProjection(**parameters).fit(*wine)

    @pytest.mark.parametrize(
        ("X", "y", "error", "message"),
        [
            (np.eye(4), [1, 1, 1, 1], ValueError, "one class only: give rows of another"),
            (np.eye(4), [1, 2, 3, 4], ValueError, "class of two rows.* 4 labels that all differ"),
            (np.full((6, 2), 0.1), [0, 0, 1] * 2, ValueError, "X must have a feature that varies"),
            (np.eye(4) * np.nan, [0, 0, 1, 1], ValueError, "X contains NaN"),
            (np.eye(4), [0, 0, 1, np.nan], ValueError, "y contains NaN"),
            (np.eye(4), [0, 0, 1], ValueError, "inconsistent numbers of samples"),
            (np.eye(4), None, ValueError, "requires y to be passed"),
            (np.eye(4)[:1], [0], ValueError, "1 sample.* minimum of 2"),
            (np.array([["a"], ["b"]]), [0, 0], ValueError, "could not convert string"),
        ],
    )
    def test_data(self, X, y, error, message):
        with pytest.raises(error, match=message):
            ContrastiveProjection(1).fit(X, y)

    def test_more_components_than_samples(self):
        X, y = blobs(n=6, d=10)
        with pytest.raises(ValueError, match=r"n_components .* number of samples, 6, received 7"):
            ContrastiveProjection(7).fit(X, y)

    def test_constant_targets(self):
        with pytest.raises(ValueError, match="targets that differ"):
            ContrastiveProjection(2, Recorder(("embeddings", "targets"))).fit(np.eye(3), [1, 1, 1])

    def test_other_features_than_fitted(self, fitted):
        with pytest.raises(ValueError, match="5 features, but ContrastiveProjection is expecting"):
            fitted.transform(np.ones((2, 5)))

    def test_unfitted(self):
        with pytest.raises(NotFittedError):
            ContrastiveProjection().transform(np.eye(2))
