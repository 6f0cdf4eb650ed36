"""Keras on the replicas of a `tf.distribute` strategy: everybody's rows, and Keras' scaling."""

from typing import Any

import keras


def everybodys(rows: Any) -> Any:
    """The rows of all replicas, of which TensorFlow's backend may have several."""
    if keras.backend.backend() != "tensorflow":
        return rows
    from nearfar.tensorflow import everybodys as gathered

    return gathered(rows)


def scaled(value: Any) -> Any:
    """A value of all replicas' rows as each has to give it, since Keras adds gradients up."""
    if keras.backend.backend() != "tensorflow":
        return value
    from tensorflow import distribute

    count = distribute.get_strategy().num_replicas_in_sync
    return value if count == 1 else value / count
