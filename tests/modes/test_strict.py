"""array-api-strict as a framework: the rules and evaluators use nothing outside the standard."""

from typing import Any, ClassVar

import array_api_strict as strict
import numpy as np
import pytest
from cases import CASES

from nearfar.frameworks.base import Namespace


class Strict(Namespace):
    name: ClassVar[str] = "array_api_strict"
    xp: Any = strict

    def is_array(self, x):
        return isinstance(x, strict._array_object.Array)

    def host(self, x):
        return None

    def read(self, x):
        return np.asarray(x)

    def itemsize(self, x):
        return {strict.float32: 4, strict.float64: 8}[x.dtype]


@pytest.mark.parametrize("name", CASES)
def test_strict(name):
    case = CASES[name]
    call = case.loss._open((*case.embeddings, *case.labels), {}, None)
    inputs = tuple(strict.asarray(np.array(x)) for x in call.arrays)
    wanted = tuple(k < len(case.embeddings) for k in range(len(inputs)))
    value, found = Strict().value_and_grad(call.evaluation, inputs, wanted)
    want, gradients = case.loss.value_and_grad(*case.embeddings, *case.labels)
    assert float(value) == pytest.approx(float(want), rel=1e-12)
    for got, gradient in zip(found, gradients, strict=False):
        np.testing.assert_allclose(np.asarray(got), gradient, atol=1e-12, rtol=1e-9)
