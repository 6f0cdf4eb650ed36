"""How a linear map is learned with a loss: what its objective has beside the loss, and the search.

Needs SciPy and threadpoolctl.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
OnStep = Callable[[int, float, float | None], None]
"""Takes the iteration, the objective, and the score where there is one."""

# The coordinate that all rows share during the search.
LIFT = 0.01
# Later iterations fit the training rows alone: on digits, held-out neighbours gain nothing.
TOLERANCE = 1e-4


def lifted(Z: Floats) -> Floats:
    """Add the coordinate (n, k + 1) that all rows share during the search."""
    return np.column_stack([Z, np.full(len(Z), LIFT)])


def penalised(X: Floats, V: Floats, Z: Floats, dZ: Floats, alpha: float) -> tuple[float, Floats]:
    """Give alpha ||V||^2 / (||Z||^2 / n) of Z = X V, and the gradient for V.

    The gradient (d, k) is of the penalty and of what has the gradient ``dZ`` (n, k) for Z.
    """
    signal = np.square(Z).sum() / len(Z)
    penalty = alpha * np.square(V).sum() / signal
    dV = X.T @ (dZ - (2 * penalty / signal / len(Z)) * Z) + (2 * alpha / signal) * V
    return penalty, dV


def search(
    objective: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    score: Callable[[Floats], float | None],
    max_iter: int,
    on_step: OnStep | None,
    tolerance: float,
    patience: int,
) -> tuple[Floats, int, int, bool]:
    """Make the objective small by L-BFGS, `score` being better the higher it is.

    It ends after `patience` iterations without a better or an equal score. Where the last score is
    below the best by more than the tolerance, the parameters with the best are taken, those of the
    start (iteration 0) among them; elsewhere the difference may be chance, and the last are taken.

    Gives the parameters, their iteration, the iterations done and whether it was interrupted.
    """
    last, last_score = start, score(start)
    best, best_score = last, last_score
    n_iter = best_iter = 0

    def worse() -> bool:
        """Whether the last map is clearly worse than the best."""
        if last_score is None or best_score is None:
            return False
        return last_score < best_score - tolerance

    # SciPy hands the step over under this name only. Every step lowers the objective.
    def after_step(intermediate_result: OptimizeResult) -> None:
        nonlocal last, last_score, best, best_score, best_iter, n_iter
        n_iter += 1
        last = intermediate_result.x.copy()
        last_score = score(last)
        if last_score is None or best_score is None or last_score >= best_score:
            best, best_score, best_iter = last, last_score, n_iter
        if on_step is not None:
            on_step(n_iter, float(intermediate_result.fun), last_score)
        if n_iter - best_iter >= patience:
            raise StopIteration

    interrupted = False
    try:
        # The products are narrow: BLAS threads would wait for each other longer than they work.
        with threadpool_limits(limits=1, user_api="blas"):
            minimize(
                objective,
                start,
                method="L-BFGS-B",
                jac=True,
                callback=after_step,
                options={
                    "maxiter": max_iter,
                    "maxfun": 20 * (max_iter + 1),  # a line search may take 20
                    "ftol": TOLERANCE,
                },
            )
    except KeyboardInterrupt:
        if on_step is None:
            raise
        interrupted = True
    if worse():
        return best, best_iter, n_iter, interrupted
    return last, n_iter, n_iter, interrupted
