"""How good an embedding is: nearest neighbours, retrieval, spread. Arrays in, a Python float out.

Every function takes embeddings ``(n, d)`` of any framework, dtype and device, with a gradient or
without (lists and integers too), and computes in float64, in tiles of bounded memory: no n x n
array is ever made. What lies on an accelerator is compared there, in float64 where it has that
(else in float32; which rows are nearest is settled in float64 all the same).

The retrieval measures (`knn_accuracy`, `knn_r2`, `recall_at_k`, `r_precision`, `map_at_r`) share
their call: each row of ``embeddings`` is a query, looked up among the rows of ``reference``, or,
without a reference, among all *other* rows of ``embeddings``: a query never finds itself, but it
does find its duplicates.

- Order: nearer first; rows at the same distance in the order in which they stand. Euclidean
  distances are those of the differences a - b, so near rows keep their digits and no result
  depends on the size of a tile.
- ``metric``: ``"euclidean"``, ``"sqeuclidean"`` (the same order), ``"cosine"`` (a zero row has
  cosine 0 with every row), ``"cityblock"``, ``"chebyshev"`` or ``"hamming"``.
- Labels: ``(n,)``, any dtype that sorts.

Distances other than Euclid's need SciPy, R2 scikit-learn: ``pip install 'nearfar[sklearn]'``.
"""

from nearfar.metrics.neighbours import knn_accuracy, knn_r2, map_at_r, r_precision, recall_at_k
from nearfar.metrics.spread import alignment, effective_rank, uniformity

__all__ = [
    "alignment",
    "effective_rank",
    "knn_accuracy",
    "knn_r2",
    "map_at_r",
    "r_precision",
    "recall_at_k",
    "uniformity",
]
