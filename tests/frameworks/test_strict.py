"""array-api-strict as a framework: the rules and evaluators use nothing outside the standard."""

from typing import Any, ClassVar

import array_api_strict as strict
import numpy as np
import pytest
from support.cases import CASES

from nearfar.frameworks.numpy.namespace import NumPy
from nearfar.frameworks.protocol.glue import Glue
from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.required import Required

PLAIN = NumPy()


class Strict(Namespace):
    name: ClassVar[str] = "array_api_strict"
    xp: Any = strict

    def is_array(self, x):
        return isinstance(x, strict._array_object.Array)

    def peek(self, x):
        return None

    def to_numpy(self, x):
        return np.asarray(x)

    def itemsize(self, x):
        return {strict.float32: 4, strict.float64: 8}[x.dtype]

    def gather(self, x, order, scratch=None, key=""):
        return strict.asarray(np.take_along_axis(np.asarray(x), np.asarray(order), 1))

    def scatter(self, x, order, width, scratch=None, key=""):
        out = np.zeros((len(np.asarray(x)), width), np.asarray(x).dtype)
        np.put_along_axis(out, np.asarray(order), np.asarray(x), 1)
        return strict.asarray(out)

    def add_at_(self, x, places, values):
        out = np.array(x)
        return strict.asarray(PLAIN.add_at_(out, np.asarray(places), np.asarray(values)))

    def running_sum(self, x, reverse):
        return strict.asarray(np.array(PLAIN.running_sum(np.asarray(x), reverse)))

    def running_log_sum(self, x, reverse):
        return strict.asarray(np.array(PLAIN.running_log_sum(np.asarray(x), reverse)))

    def segment_fill(self, x, starts, last):
        return strict.asarray(PLAIN.segment_fill(np.asarray(x), np.asarray(starts), last))


@pytest.mark.parametrize("name", CASES)
def test_strict(name):
    case = CASES[name]
    call = case.loss._open((*case.embeddings, *case.labels), {})
    inputs = tuple(strict.asarray(np.array(x)) for x in call.arrays)
    wanted = tuple(k < len(case.embeddings) for k in range(len(inputs)))
    value, found = Glue(Strict()).value_and_grad(call.evaluation, inputs, wanted)
    want, gradients = case.loss.value_and_grad(*case.embeddings, *case.labels)
    assert float(value) == pytest.approx(float(want), rel=1e-12)
    for got, gradient in zip(found, gradients, strict=False):
        np.testing.assert_allclose(np.asarray(got), gradient, atol=1e-12, rtol=1e-9)


def test_a_framework_says_at_once_what_it_lacks():
    class Half(Namespace):
        name, xp = "half", strict

        def is_array(self, x):
            return False

    with pytest.raises(TypeError, match=r"add_at_.*gather.*peek"):
        Half()


def test_what_strict_writes_is_the_list():
    written = {name for name in vars(Strict) if not name.startswith("_")} - {"name", "xp"}
    assert written - {"itemsize"} == Required.__abstractmethods__
