"""Measures by nearest neighbours: each row looked up among the others, or in a reference."""

from typing import Any

import numpy as np

from nearfar.extras import imported
from nearfar.metrics.arrays import Floats, Ints, codes_of, rows_of, targets_of
from nearfar.metrics.device import device_of
from nearfar.metrics.search import nearest_rows


def knn_accuracy(
    embeddings: Any,
    labels: Any,
    reference: Any = None,
    reference_labels: Any = None,
    *,
    k: int = 3,
    metric: str = "euclidean",
) -> float:
    """Share of queries whose k nearest neighbours vote for the right label.

    Majority of the k labels, each neighbour one vote; where labels tie, the one that sorts first
    wins, as in scikit-learn's ``KNeighborsClassifier``.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    k : int
        Number of neighbours, at most m, or n - 1 without a reference.
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1]; chance level is the share of the largest class.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or infinity, a k or metric that does not exist.

    Source: Cover and Hart, "Nearest neighbor pattern classification", 1967.

    >>> knn_accuracy([[0.0], [1.0], [2.0], [9.0], [10.0]], ["a", "a", "a", "b", "b"], k=1)
    1.0
    >>> knn_accuracy([[0.0], [9.0]], ["a", "b"], [[1.0], [2.0]], ["a", "a"], k=2)
    0.5
    """
    queries, rows = _search_rows(embeddings, reference)
    device = device_of(embeddings, reference)
    codes, row_codes = _search_codes(labels, reference_labels, queries, rows)
    n_classes = 1 + max(codes.max(), row_codes.max())
    counts = np.full(len(queries), _checked_k(k, queries, rows))
    right = 0
    for tile, nearest in nearest_rows(queries, rows, counts, metric, device):
        votes = row_codes[nearest]  # (b, k)
        slots = votes + n_classes * np.arange(len(votes))[:, None]
        tally = np.bincount(slots.ravel(), minlength=len(votes) * n_classes)
        winners = tally.reshape(len(votes), n_classes).argmax(axis=1)  # (b,)
        right += int(np.count_nonzero(winners == codes[tile]))
    return right / len(queries)


def knn_r2(
    embeddings: Any,
    targets: Any,
    reference: Any = None,
    reference_targets: Any = None,
    *,
    k: int = 15,
    metric: str = "euclidean",
) -> float:
    """R2 of predicting a query's target by the mean target of its k nearest neighbours.

    R2 = 1 - sum (y - prediction)^2 / sum (y - mean y)^2 over the queries; several targets are
    averaged with equal weights, and a constant target counts 1 where it is predicted exactly, else
    0 (scikit-learn's ``r2_score``).

    Parameters
    ----------
    embeddings, targets : (n, d), (n,) or (n, t)
        The queries, at least two.
    reference, reference_targets : (m, d), (m,) or (m, t), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    k : int
        Number of neighbours, at most m, or n - 1 without a reference.
    metric : str
        See the module's docstring.

    Returns
    -------
    float, at most 1; 0 is as good as the mean of the queries' targets.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or infinity, fewer than two queries, a k or metric that
        does not exist.

    Source: Cover, "Estimation by the nearest neighbor rule", 1968.

    >>> knn_r2([[0.0], [0.1], [5.0], [5.1]], [1.0, 1.0, 3.0, 3.0], k=1)
    1.0
    """
    queries, rows = _search_rows(embeddings, reference)
    device = device_of(embeddings, reference)
    y = targets_of(targets, "targets", len(queries))
    y_rows = y
    _both_or_none(reference, reference_targets, "reference_targets")
    if rows is not None:
        y_rows = targets_of(reference_targets, "reference_targets", len(rows))
        if y.shape[1:] != y_rows.shape[1:]:
            raise ValueError(
                f"targets and reference_targets must have the same columns, "
                f"received shapes {y.shape} and {y_rows.shape}"
            )
    if len(queries) < 2:
        raise ValueError(
            "knn_r2 needs at least 2 embeddings, received 1: R2 compares their targets"
        )
    counts = np.full(len(queries), _checked_k(k, queries, rows))
    predictions = np.empty_like(y)
    for tile, nearest in nearest_rows(queries, rows, counts, metric, device):
        predictions[tile] = y_rows[nearest].mean(axis=1)
    sklearn = imported("sklearn.metrics", "nearfar.metrics", "sklearn")
    return float(sklearn.r2_score(y, predictions))


def recall_at_k(
    embeddings: Any,
    labels: Any,
    reference: Any = None,
    reference_labels: Any = None,
    *,
    k: int = 1,
    metric: str = "euclidean",
) -> float:
    """Share of queries with at least one row of their label among their k nearest.

    Queries that have no row of their label to find are left out of the mean.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    k : int
        Number of neighbours, at most m, or n - 1 without a reference.
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1].

    Raises
    ------
    ValueError, TypeError
        As `knn_accuracy`, and where no query has a row of its label to find.

    Source: Jegou et al., "Product quantization for nearest neighbor search", 2011; in metric
    learning since Oh Song et al., arXiv 1511.06452. Queries without another member are left out
    as in Musgrave et al., arXiv 2003.08505.

    >>> recall_at_k([[0.0], [1.0], [3.0], [9.0]], [0, 0, 1, 1], k=1)
    0.75
    """
    queries, rows = _search_rows(embeddings, reference)
    device = device_of(embeddings, reference)
    codes, row_codes = _search_codes(labels, reference_labels, queries, rows)
    counts = np.full(len(queries), _checked_k(k, queries, rows))
    asked = _relevant(codes, row_codes, rows) > 0
    found = np.empty(len(queries), dtype=bool)
    for tile, nearest in nearest_rows(queries, rows, counts, metric, device):
        found[tile] = (row_codes[nearest] == codes[tile, None]).any(axis=1)
    return float(found[asked].mean())


def r_precision(
    embeddings: Any,
    labels: Any,
    reference: Any = None,
    reference_labels: Any = None,
    *,
    metric: str = "euclidean",
) -> float:
    """Share of a query's R nearest that have its label, mean over the queries.

    R is the number of rows of the query's label (other than itself), so that a perfect embedding
    gives 1. Queries with R = 0 are left out of the mean.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1]; chance level is the mean share of a query's label.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or infinity, a metric that does not exist, and where no
        query has a row of its label to find.

    Source: Musgrave et al., "A Metric Learning Reality Check", arXiv 2003.08505, section 3.2.

    >>> r_precision([[0.0], [1.0], [3.0], [9.0]], [0, 0, 1, 1])
    0.75
    """
    return _at_r(embeddings, labels, reference, reference_labels, metric, ranked=False)


def map_at_r(
    embeddings: Any,
    labels: Any,
    reference: Any = None,
    reference_labels: Any = None,
    *,
    metric: str = "euclidean",
) -> float:
    """Mean average precision at R: R-precision that also rewards right rows for standing first.

    For a query with R rows of its label (other than itself), MAP@R = 1/R sum_{i=1..R} P(i), P(i)
    the share of right rows among the i nearest where the i-th is right, else 0; then the mean over
    the queries. Queries with R = 0 are left out of the mean.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1], at most `r_precision`.

    Raises
    ------
    ValueError, TypeError
        As `r_precision`.

    Source: Musgrave et al., "A Metric Learning Reality Check", arXiv 2003.08505, section 3.2.

    >>> map_at_r([[0.0]], ["a"], [[1.0], [2.0], [3.0]], ["b", "a", "a"])
    0.25
    """
    return _at_r(embeddings, labels, reference, reference_labels, metric, ranked=True)


def _at_r(
    embeddings: Any,
    labels: Any,
    reference: Any | None,
    reference_labels: Any | None,
    metric: str,
    *,
    ranked: bool,
) -> float:
    """MAP@R, or R-precision where the order among the R nearest does not count."""
    queries, rows = _search_rows(embeddings, reference)
    device = device_of(embeddings, reference)
    codes, row_codes = _search_codes(labels, reference_labels, queries, rows)
    relevant = _relevant(codes, row_codes, rows)
    total = 0.0
    for tile, nearest in nearest_rows(queries, rows, relevant, metric, device):
        r = relevant[tile, None]
        place = np.arange(1, nearest.shape[1] + 1)
        right = (row_codes[nearest] == codes[tile, None]) & (place <= r)  # (b, largest R)
        gain = np.cumsum(right, axis=1) / place if ranked else 1.0
        # A query with R = 0 has nothing right: it adds 0 and is not counted below.
        total += float((right * gain / np.maximum(r, 1)).sum())
    return total / int(np.count_nonzero(relevant))


def _relevant(codes: Ints, row_codes: Ints, rows: Floats | None) -> Ints:
    """How many rows of its label each query can find: (n,)."""
    n_classes = 1 + max(codes.max(), row_codes.max())
    relevant = np.bincount(row_codes, minlength=n_classes)[codes] - (1 if rows is None else 0)
    if not relevant.any():
        where = "another row of labels" if rows is None else "reference_labels"
        raise ValueError(
            f"labels must share a label with {where}, received none that do: no query has a row "
            "of its label to find"
        )
    return relevant


def _checked_k(k: int, queries: Floats, rows: Floats | None) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k must be an integer, received {k!r}")
    most = len(queries) - 1 if rows is None else len(rows)
    if most == 0:
        raise ValueError("embeddings must have at least 2 rows, received 1: give a reference")
    if not 1 <= k <= most:
        rest = "embeddings, the query left out" if rows is None else "reference"
        raise ValueError(f"k must be from 1 to {most}, the rows of {rest}, received {k}")
    return int(k)


def _both_or_none(reference: object, companion: object, name: str) -> None:
    if (reference is None) != (companion is None):
        given, missing = ("reference", name) if companion is None else (name, "reference")
        raise ValueError(
            f"reference and {name} go together, received {given} alone: give {missing} too"
        )


def _search_rows(embeddings: Any, reference: Any | None) -> tuple[Floats, Floats | None]:
    queries = rows_of(embeddings, "embeddings")
    if reference is None:
        return queries, None
    rows = rows_of(reference, "reference")
    if rows.shape[1] != queries.shape[1]:
        raise ValueError(
            f"reference must have the {queries.shape[1]} columns of embeddings, "
            f"received shape {rows.shape}"
        )
    return queries, rows


def _search_codes(
    labels: Any, reference_labels: Any | None, queries: Floats, rows: Floats | None
) -> tuple[Ints, Ints]:
    _both_or_none(rows, reference_labels, "reference_labels")
    if rows is None:
        (codes,) = codes_of({"labels": (labels, len(queries))})
        return codes, codes
    codes, row_codes = codes_of(
        {"labels": (labels, len(queries)), "reference_labels": (reference_labels, len(rows))}
    )
    return codes, row_codes
