"""What a retrieval task of TensorFlow Recommenders is told, as a loss takes it."""

from typing import Any

import keras

_OURS = {"candidate_ids": "ids", "candidate_sampling_probability": "log_q"}
_LEAST = 1e-6
"""Of a probability; the task of TensorFlow Recommenders holds it there."""


def retrieval_names(owner: str, given: dict[str, Any]) -> dict[str, Any]:
    """Inputs by the names of the loss."""
    found = dict(given)
    for theirs, ours in _OURS.items():
        if theirs not in found:
            continue
        if ours in found:
            raise TypeError(
                f"{owner}: expected {ours} or {theirs}, which are the same; received both; leave "
                "one out"
            )
        found[ours] = found.pop(theirs)
        if ours == "log_q":
            found[ours] = _each(_logarithm, found[ours])
    if "ids" in found:
        found["ids"] = _numbered(found["ids"])
    return found


def _each(function: Any, x: Any) -> Any:
    return tuple(map(function, x)) if isinstance(x, tuple | list) else function(x)


def _logarithm(probability: Any) -> Any:
    ops = keras.ops
    return ops.log(ops.clip(ops.convert_to_tensor(probability), _LEAST, 1.0))


def _numbered(ids: Any) -> Any:
    """Text of TensorFlow's as numbers that are alike where it is."""
    if keras.backend.backend() != "tensorflow":
        return ids
    import tensorflow as tf

    parts = ids if isinstance(ids, tuple | list) else (ids,)
    if not all(getattr(x, "dtype", None) == tf.string for x in parts):
        return ids
    numbers = tf.unique(tf.concat([tf.reshape(x, (-1,)) for x in parts], 0))[1]
    found = tuple(tf.split(numbers, [tf.size(x) for x in parts]))
    return found if len(found) > 1 else found[0]
