"""Every framework and mode gives the value and gradient of NumPy in float64."""

import numpy as np
import pytest
from support.backends import DIFFERENTIABLE
from support.cases import CASES, FEW, LOSSES

UPSTREAM = 3.0
EVALUATORS = ("ntxent", "supcr")
"""For modes that run the programs of another one."""
FIRST = {next(iter(entry.cases)) for entry in LOSSES.values()}
TURNS = {"tf.function, unknown batch": 0, "tf.function, XLA": 1}


def cells():
    """Of TensorFlow's two slow modes each case meets one, in turn."""
    for backend in DIFFERENTIABLE.values():
        for mode in backend.modes:
            for k, case in enumerate(CASES):
                if mode in backend.alike and case not in EVALUATORS:
                    continue
                if mode == "torch.compile, dynamic batch" and case in FIRST - {*FEW}:
                    continue  # tests/common compiles them, for batches of several sizes
                turn = TURNS.get(mode)
                if turn is not None and turn != k % 2 and case not in FEW:
                    continue
                slow = backend.name == "jax" or mode in backend.slow
                few = EVALUATORS if mode == "tf.function, XLA" else FEW
                marks = [pytest.mark.long] if slow and case not in few else []
                yield pytest.param(
                    backend, mode, case, id=f"{backend.title}-{mode}-{case}", marks=marks
                )


@pytest.mark.parametrize(("backend", "mode", "name"), list(cells()))
def test_agrees_with_numpy(backend, mode, name):
    case = CASES[name]
    wanted, gradients = case.loss.value_and_grad(*case.embeddings, *case.labels)
    inputs = [backend.asarray(x) for x in case.embeddings]
    labels = [backend.labels(x) for x in case.labels]
    value, found = backend.differentiate(case.loss, inputs, *labels, upstream=UPSTREAM, mode=mode)
    assert backend.dtype(value) == "float64"
    assert float(value) == pytest.approx(float(wanted), rel=1e-12, abs=1e-12)
    assert len(found) == len(gradients)
    for got, want in zip(found, gradients, strict=True):
        assert backend.dtype(got) == "float64"
        np.testing.assert_allclose(
            backend.read(got), UPSTREAM * want, atol=1e-11 * np.abs(want).max(), rtol=1e-9
        )
