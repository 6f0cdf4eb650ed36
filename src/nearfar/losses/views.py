"""Several views of each row, as losses of labels take them."""

from math import prod
from typing import Any

import numpy as np

from nearfar.frameworks import framework_name, namespace_of
from nearfar.losses import inputs


def flatten_views(features: Any, labels: Any = None) -> tuple[Any, Any]:
    """Embeddings and labels for a loss of labels, of features with several views of each row.

    ``nf.SupCon()(*nf.flatten_views(features, labels))`` is the usual call of supervised
    contrastive code on features (n, views, d).

    Parameters
    ----------
    features
        (n, views, d), or (n, views, f1, ..., fk); differentiable.
    labels
        One for each of the n rows, (n,) or (n, c), or targets likewise; None: each row is a class
        of its own, so that its views are each other's only positives.

    Returns
    -------
    embeddings
        (n * views, d): the views of row 0, then those of row 1, ...; further axes flattened.
    labels
        Each as many times as there are views, (n * views,) or (n * views, c).

    Raises
    ------
    TypeError, ValueError
        For features that are no floating array of three axes or more, and labels of other length.

    >>> import numpy as np
    >>> import nearfar as nf
    >>> x, y = nf.flatten_views(np.arange(12.0).reshape(2, 3, 2), ["cat", "dog"])
    >>> x.shape, [str(label) for label in y]
    ((6, 2), ['cat', 'cat', 'cat', 'dog', 'dog', 'dog'])
    """
    ns = namespace_of([("features", features)])
    x = inputs.embeddings(ns, "features", features, False)
    shape = ns.shape(x)
    if len(shape) < 3:
        raise ValueError(
            f"expected features of shape (n, views, d); received {tuple(x.shape)}; rows that have "
            "one view go to the loss as they are"
        )
    n, views = shape[:2]
    rows = ns.xp.reshape(x, (n * views, prod(shape[2:])))
    if labels is None:
        labels = np.arange(n)
    foreign = ns.on_host or framework_name(labels) != ns.name
    labels = np.asarray(labels) if foreign else labels
    if labels.shape[0] != x.shape[0]:
        raise ValueError(
            f"expected as many labels as features have rows, {x.shape[0]}; received shape "
            f"{tuple(labels.shape)}"
        )
    if foreign:
        return rows, np.repeat(labels, views, axis=0)
    tail = tuple(labels.shape[1:])
    return rows, ns.xp.reshape(ns.xp.stack([labels] * views, axis=1), (n * views, *tail))
