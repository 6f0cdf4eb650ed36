"""Learning two projections, one of each side of pairs, judged by pairs set aside."""

from dataclasses import dataclass, replace
from math import ceil, sqrt
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from nearfar.cli.data.pairs import Pairs
from nearfar.cli.errors import BadInput, library_errors
from nearfar.cli.learn.maps import Linear, metric_of
from nearfar.cli.learn.projection import recorded, settled, tell_end
from nearfar.cli.learn.split import fingerprint, tenth_aside
from nearfar.cli.options import LearningOptions
from nearfar.cli.report.log import Log
from nearfar.cli.report.voice import Voice
from nearfar.cli.tasks.pairs import recall
from nearfar.linear_map import lifted, penalised, search
from nearfar.losses import SigLIP

Floats = NDArray[np.float64]
Maps = tuple[Linear, Linear]


_MORE, _ROUNDS = 10, 10  # directions beside those that are wanted, and products with both sides
_LEAST = 2  # pairs in a part: one has no other to be told from


@dataclass(frozen=True)
class PairSplit:
    """Both parts, and where in their files the pairs are."""

    train: Pairs
    held_out: Pairs
    train_rows: NDArray[np.intp]
    held_out_rows: NDArray[np.intp]

    def fingerprint(self) -> str:
        """Tell data apart."""
        return fingerprint(
            *(side for part in (self.train, self.held_out) for side in (part.x, part.y))
        )


def split_pairs(pairs: Pairs, test_size: float, seed: int) -> PairSplit:
    """Hold out a share of the pairs."""
    n = len(pairs)
    held_out = ceil(test_size * n)
    for count, remedy in ((held_out, "raise it"), (n - held_out, "lower it")):
        if count < _LEAST:
            raise BadInput(
                f"--test-size {test_size} cuts the {n} pairs of {pairs.name} into {n - held_out} "
                f"to learn from and {held_out} held out, expected {_LEAST} or more of each; "
                f"{remedy} or add pairs"
            )
    train, test = train_test_split(np.arange(n), test_size=held_out, random_state=seed)
    return PairSplit(pairs.take(train), pairs.take(test), train, test)


def split_pairs_by(pairs: Pairs, test: Pairs) -> PairSplit:
    """Learn from all of ``pairs`` and hold out those of ``test``."""
    for name, has, needs in (("X", test.x, pairs.x), ("Y", test.y, pairs.y)):
        if has.shape[1] != needs.shape[1]:
            raise BadInput(
                f"--test: {name} of {test.name} has {has.shape[1]} features, and that of "
                f"{pairs.name} has {needs.shape[1]}; give the same"
            )
    for part, what in ((pairs, "DATA"), (test, "--test")):
        if len(part) < _LEAST:
            raise BadInput(f"{what}: {part.name} has one pair, expected {_LEAST} or more; add some")
    return PairSplit(pairs, test, np.arange(len(pairs)), np.arange(len(test)))


@dataclass(frozen=True)
class Side:
    """The training rows of a side (n, d), standardised, and by what."""

    X: Floats
    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, rows: Floats, what: str) -> Self:
        if not np.ptp(rows, axis=0).any():
            raise BadInput(
                f"{what}: every feature is constant in the training pairs; give one that varies"
            )
        scaler = StandardScaler().fit(rows)
        return cls(scaler.transform(rows), scaler.mean_, scaler.scale_)

    def map(self, V: Floats, b: Floats) -> Linear:
        """Make the map of rows as they are read out of that of standardised ones."""
        return Linear(self.mean, self.scale, V.T, b, self.mean.shape)


@dataclass(frozen=True)
class LearnedPairs:
    """The maps, those that the learning started at, and what happened, for metrics.json."""

    maps: Maps
    start: Maps
    loss: Any
    seconds: float
    start_seconds: float
    outcome: dict[str, Any]
    history: list[dict[str, Any]]


def learn_pairs(
    x: Side,
    y: Side,
    loss: Any,
    components: int,
    options: LearningOptions,
    seed: int,
    voice: Voice,
    log: Log,
) -> LearnedPairs:
    """Make loss(x-side, y-side) small; the first Ctrl-C ends it with the best maps so far.

    The search is that of `nearfar.sklearn.ContrastiveProjection`, with a penalty for each side. It
    starts at the singular vectors of the cross-covariance (partial least squares): the principal
    components of each side alone have nothing to do with each other.
    """
    began = perf_counter()
    rows, judging = tenth_aside(len(x.X), seed)
    metric = metric_of(loss)
    loss, max_iter, alpha = settled(loss, options, len(rows))
    X, Y = x.X[rows], y.X[rows]
    V, W = _cross_covariance(X, Y, components, seed)
    zero = np.zeros(components)
    start, start_seconds = (x.map(V, zero), y.map(W, zero)), perf_counter() - began
    own = {"bias": loss.bias} if isinstance(loss, SigLIP) else {}
    cuts = np.cumsum([V.size, components, W.size, components])

    def parts(flat: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        V, b, W, c, _ = np.split(flat, cuts)
        return V.reshape(-1, components), b, W.reshape(-1, components), c

    def learned(flat: Floats) -> dict[str, Floats]:
        return dict(zip(own, flat[cuts[-1] :], strict=True))

    def objective(flat: Floats) -> tuple[float, Floats]:
        V, b, W, c = parts(flat)
        Z, U = X @ V, Y @ W  # (n, components)
        value, (of_Z, of_U, *rest) = loss.value_and_grad(
            lifted(Z + b),
            lifted(U + c),
            **{name: np.asarray(x) for name, x in learned(flat).items()},
        )
        dZ, dU = of_Z[:, :-1], of_U[:, :-1]
        of_x, dV = penalised(X, V, Z, dZ, alpha)
        of_y, dW = penalised(Y, W, U, dU, alpha)
        gradient = [dV.ravel(), dZ.sum(axis=0), dW.ravel(), dU.sum(axis=0), rest]
        return float(value + of_x + of_y), np.concatenate(gradient)

    def judge(flat: Floats) -> float | None:
        if not len(judging):
            return None
        V, b, W, c = parts(flat)
        return recall(x.X[judging] @ V + b, y.X[judging] @ W + c, metric).mean

    history: list[dict[str, Any]] = []
    with recorded(voice, log, history, max_iter) as on_step, library_errors():
        found, best, done, interrupted = search(
            objective,
            np.concatenate([V.ravel(), zero, W.ravel(), zero, list(own.values())]),
            judge,
            max_iter,
            on_step,
            tolerance=0.5 / sqrt(max(1, len(judging))),
            patience=options.patience,
        )
    tell_end(voice, "maps", done, best, max_iter, interrupted, len(judging))
    V, b, W, c = parts(found)
    return LearnedPairs(
        (x.map(V, b), y.map(W, c)),
        start,
        replace(loss, **{name: float(x) for name, x in learned(found).items()}),
        perf_counter() - began,
        start_seconds,
        {
            "components": components,
            "max_iter": max_iter,
            "alpha": alpha,
            "iterations": done,
            "best_iteration": best,
            "validation_pairs": len(judging),
            "interrupted": interrupted,
        },
        history,
    )


def _cross_covariance(X: Floats, Y: Floats, k: int, seed: int) -> tuple[Floats, Floats]:
    """The first singular vectors (d1, k) and (d2, k) of X^T Y, scaled to rows of norm 1 on average.

    By subspace iteration (Halko et al., arXiv 0909.4061, algorithm 4.4): of images, X^T Y itself
    would not fit into memory.
    """
    right = np.random.default_rng(seed).normal(size=(Y.shape[1], k + _MORE))
    for _ in range(_ROUNDS):
        left = np.linalg.qr(X.T @ (Y @ right))[0]
        right = np.linalg.qr(Y.T @ (X @ left))[0]
    turn, _, rows = np.linalg.svd((X @ left).T @ Y, full_matrices=False)

    def scaled(X: Floats, V: Floats) -> Floats:
        return np.asarray(V / sqrt(np.square(X @ V).sum(axis=1).mean()))

    return scaled(X, left @ turn[:, :k]), scaled(Y, rows[:k].T)
