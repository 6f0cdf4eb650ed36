"""Sums over features as one operation to tapes, which would keep (n, m) arrays for each."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nearfar.frameworks.protocol.feature_sum import FeatureSum
from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.tensorflow.checks import looked_at, unchecked


def feature_sum(
    ns: Namespace, terms: FeatureSum, a: Array, b: Array, constants: tuple[Array, ...]
) -> Array:
    @tf.custom_gradient
    def value(a: Array, b: Array) -> tuple[Array, Callable[[Array], Any]]:
        # An eager tape keeps what is made of what it watches, though the gradient is stated.
        unseen = tf.stop_gradient(a), tf.stop_gradient(b)

        def gradient(upstream: Array) -> list[Array]:
            found = unchecked(terms.gradient, ns, upstream, a, b, constants)
            return [looked_at(g) for g in found]

        return terms.value(ns, *unseen, constants), gradient

    return tf.autograph.experimental.do_not_convert(value)(a, b)
