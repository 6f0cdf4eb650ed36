"""A contrastive loss as a scikit-learn transformer: a linear map learned from labels.

Needs scikit-learn and SciPy: ``pip install 'nearfar[sklearn]'``.
"""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.extras import explained
from nearfar.losses import SupCon

try:
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import LabelEncoder
    from sklearn.utils import Tags
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

    from nearfar.linear_map import Floats, OnStep, lifted, penalised, search
except ModuleNotFoundError as error:
    raise explained(error, "nearfar.sklearn", "sklearn") from None

__all__ = ["ContrastiveProjection"]

Embed = Callable[[Floats], Floats]
Judge = Callable[[Embed], float]

LABELS, TARGETS = ("embeddings", "labels"), ("embeddings", "targets")


class ContrastiveProjection(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Linear map under which a contrastive loss of the training rows is small.

    With X ``(n, d)`` the rows less their column means, s^2 the mean variance of the columns,
    Z = X @ W, W ``(d, n_components)``, and an intercept b, `fit` makes small

        loss([Z + b, 0.01], y) + alpha (s^2 ||W||_F^2) / (||Z||_F^2 / n)

    and `transform` gives Z + b, in the dtype of its input (float32 or float64; all computing is in
    float64).

    - The intercept puts the origin, from which cosines are measured, where they tell the classes
      apart: a class around the mean has no direction of its own.
    - The last coordinate, 0.01 for every row, keeps the objective smooth where a row passes the
      origin: a cosine has no derivative there, and the search would end. It changes the cosines of
      rows of the usual norm, 1, by 1e-4, and is no part of ``loss_`` or of the embedding.
    - The penalty is a noise-to-signal ratio: the squared norm that noise of variance s^2 in every
      feature would have in the embedding, against that of the rows. Like a cosine it has no scale;
      ||W||^2 alone would only shrink such a map.

    The search is SciPy's L-BFGS-B on ``loss.value_and_grad``, started at the principal components
    of X, scaled to embeddings of mean squared norm 1, and b = 0. It works on X / s, so the unit of
    X does not matter; the units of single features against each other do: put ``StandardScaler``
    before where those mean nothing. The objective is not convex: what is found is a local minimum
    near that start, the same on every run.

    The search ends where an iteration lowers the objective by less than 1e-4 of it, or of 1 where
    it is below 1. ``max_iter`` is a budget, not a promise of convergence: a search that uses it up
    is ordinary and does not warn; ``n_iter_ == max_iter`` tells.

    Parameters
    ----------
    n_components : int, default=None
        Dimensions of the embedding, at most the numbers of features and of samples. None: as many
        as features; where there are fewer samples than features the dimensions left over are 0.
        A cosine in one dimension is only a sign: with it take 2 or more.
    loss : loss of rows with labels or targets, default=SupCon(temperature=0.1)
        Any loss called with ``(embeddings, labels)`` or ``(embeddings, targets)``.
    max_iter : int, default=100
        Most L-BFGS iterations.
    alpha : float, default=1e-5
        Weight of the penalty. The default hardly acts; around 1 it makes noisy features count less.
    random_state : int, RandomState instance or None, default=None
        For the randomised PCA that scikit-learn takes on large data; elsewhere nothing is random.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        W transposed.
    intercept_ : ndarray of shape (n_components,)
        b.
    mean_ : ndarray of shape (n_features,)
        The column means of the training rows.
    loss_ : float
        The loss of the training rows under the map, without the penalty.
    n_iter_ : int
        Iterations done.
    best_iter_ : int
        The iteration whose map was taken: the last one, but for ``nearfar fit``, which judges the
        maps by rows set aside.
    interrupted_ : bool
        Whether the search was ended early by its progress callback.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X has column names that are all strings.

    See Also
    --------
    sklearn.neighbors.NeighborhoodComponentsAnalysis : the same map for the loss of NCA.

    Notes
    -----
    Source: the objective is the loss's own (SupCon: Khosla et al., arXiv 2004.11362); a linear map
    learned by such means goes back to Goldberger et al., "Neighbourhood Components Analysis", 2005.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> projection = ContrastiveProjection(n_components=2).fit(X, y)
    >>> projection.transform(X).shape
    (150, 2)
    >>> projection.get_feature_names_out().tolist()
    ['contrastiveprojection0', 'contrastiveprojection1']
    """

    def __init__(
        self,
        n_components: int | None = None,
        loss: Any = SupCon(temperature=0.1),  # noqa: B008  losses are immutable
        max_iter: int = 100,
        alpha: float = 1e-5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.max_iter = max_iter
        self.alpha = alpha
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the map.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,), or as the loss takes it
            Class labels of any dtype, or the targets of a loss of targets.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For a parameter out of range, a loss that takes no labels, NaN or infinity, features
            that are all constant, a single class, labels that all differ.
        """
        return self._fit(X, y)

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Embed rows: (X - mean_) @ components_.T + intercept_.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components), float32 where X is float32, else float64
        """
        check_is_fitted(self, "components_")
        rows = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        Z = (rows.astype(np.float64) - self.mean_) @ self.components_.T + self.intercept_
        return np.asarray(Z.astype(rows.dtype))

    def _fit(
        self,
        X: Any,
        y: Any,
        on_step: OnStep | None = None,
        judge: Judge | None = None,
        tolerance: float = 0.0,
        patience: int = 10,
    ) -> Self:
        """`fit` that reports every iteration as on_step(iteration, objective, score).

        ``judge`` scores the map of an iteration, given as a function that embeds rows; higher is
        better. The search ends after ``patience`` iterations without a better or an equal score.
        Where the last score is below the best one by more than the ``tolerance``, the map with the
        best is taken, the principal components of the start (iteration 0) among them; elsewhere the
        difference may be chance, and the last map is taken.

        A KeyboardInterrupt, raised by on_step or sent meanwhile, then ends the search with the best
        map so far. Without on_step it is let through, to end what called fit as well.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, ensure_min_samples=2)
        n_components = self._checked_parameters(*X.shape)
        y = self._checked_target(y)
        constant = X.min(axis=0) == X.max(axis=0)
        if constant.all():
            raise ValueError("X must have a feature that varies, received constant features only")
        mean = X.mean(axis=0)
        X = X - mean
        X[:, constant] = 0  # where the mean was rounded
        peak = np.abs(X).max()
        spread = peak * np.sqrt(np.square(X / peak).mean())  # no square leaves the range
        X /= spread

        def score(V: Floats, b: Floats) -> float | None:
            if judge is None:
                return None
            return judge(lambda rows: (rows - mean) @ (V / spread) + b)

        V, b, best_iter, n_iter, interrupted = self._search(
            X, y, n_components, on_step, score, tolerance, patience
        )
        self.mean_ = mean
        self.components_ = V.T / spread
        self.intercept_ = b
        self.loss_ = float(self.loss(X @ V + b, y))
        self.n_iter_ = n_iter
        self.best_iter_ = best_iter
        self.interrupted_ = interrupted
        return self

    def _search(
        self,
        X: Floats,
        y: NDArray[Any],
        n_components: int,
        on_step: OnStep | None,
        score: Callable[[Floats, Floats], float | None],
        tolerance: float,
        patience: int,
    ) -> tuple[Floats, Floats, int, int, bool]:
        """The best V (d, n_components) and b, their iteration, those done, whether interrupted."""

        def split(flat: Floats) -> tuple[Floats, Floats]:
            return flat[:-n_components].reshape(-1, n_components), flat[-n_components:]

        def objective(flat: Floats) -> tuple[float, Floats]:
            V, b = split(flat)
            Z = X @ V  # (n, n_components)
            value, (gradient,) = self.loss.value_and_grad(lifted(Z + b), y)
            dZ = gradient[:, :-1]
            penalty, dV = penalised(X, V, Z, dZ, self.alpha)
            return float(value + penalty), np.concatenate([dV.ravel(), dZ.sum(axis=0)])

        start = np.concatenate([self._start(X, n_components).ravel(), np.zeros(n_components)])
        flat, best_iter, n_iter, interrupted = search(
            objective,
            start,
            lambda flat: score(*split(flat)),
            self.max_iter,
            on_step,
            tolerance,
            patience,
        )
        return *split(flat), best_iter, n_iter, interrupted

    def _start(self, X: Floats, n_components: int) -> Floats:
        """The principal components, scaled to embeddings of mean squared norm 1."""
        n, d = X.shape
        pca = PCA(min(n_components, n, d), random_state=self.random_state).fit(X)
        V = np.zeros((d, n_components))
        V[:, : len(pca.components_)] = pca.components_.T
        V[~X.any(axis=0)] = 0  # directions without variance are any: keep constant features out
        return np.asarray(V / np.sqrt(np.square(X @ V).sum(axis=1).mean()))

    def _checked_parameters(self, n: int, d: int) -> int:
        """The number of components."""
        for name in ("n_components", "max_iter"):
            value = getattr(self, name)
            if value is None and name == "n_components":
                continue
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise TypeError(f"{name} must be an integer, received {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, received {value}")
        if not isinstance(self.alpha, Real):
            raise TypeError(f"alpha must be a number, received {self.alpha!r}")
        if not 0 <= self.alpha < np.inf:
            raise ValueError(f"alpha must be a finite number, at least 0, received {self.alpha!r}")
        if self.n_components is None:
            return d
        for most, of in ((d, "features"), (n, "samples")):
            if self.n_components > most:
                raise ValueError(
                    f"n_components must be at most the number of {of}, {most}, "
                    f"received {self.n_components}"
                )
        return int(self.n_components)

    def _checked_target(self, y: NDArray[Any]) -> NDArray[Any]:
        """Labels as class numbers (multi-hot ones as they are), targets as they are."""
        # Of whatever is called as a loss is; what it may be given beside is not asked for here.
        optional = getattr(self.loss, "optional", ())
        inputs = tuple(x for x in getattr(self.loss, "inputs", None) or () if x not in optional)
        if isinstance(self.loss, type):
            name = self.loss.__name__
            raise TypeError(
                f"loss must be an instance, received the class {name}: call it, {name}()"
            )
        if inputs not in (LABELS, TARGETS):
            takes = f"takes ({', '.join(inputs)})" if inputs else "has no inputs"
            raise TypeError(
                "loss must be a loss of (embeddings, labels) or (embeddings, targets) such as "
                f"SupCon(), received {self.loss!r}, which {takes}"
            )
        if issparse(y):
            raise TypeError("y must be a dense array, received a sparse one: use y.toarray()")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if inputs == LABELS and y.ndim == 1:
            y = LabelEncoder().fit_transform(y)
            if np.bincount(y).max() < 2:
                raise ValueError(
                    f"y must have a class of two rows or more, received {len(y)} labels that all "
                    "differ: give class labels, or a loss of targets"
                )
        if (y == y[0]).all():
            raise ValueError(
                "y must hold labels or targets that differ, received one class only: give rows of "
                "another"
            )
        return y

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)
