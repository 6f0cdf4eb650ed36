"""Every framework and mode gives the value and gradient of NumPy in float64."""

import numpy as np
import pytest
from cases import CASES, FEW
from running import ALIKE, MODES, SLOW, UPSTREAM


def cells():
    for framework, modes in MODES.items():
        for mode, run in modes.items():
            for case in CASES:
                if (framework, mode) in ALIKE and case not in FEW:
                    continue
                slow = framework == "JAX" or mode in SLOW
                marks = [pytest.mark.long] if slow and case not in FEW else []
                yield pytest.param(run, case, id=f"{framework}-{mode}-{case}", marks=marks)


@pytest.mark.parametrize(("run", "name"), list(cells()))
def test_agrees_with_numpy(run, name):
    case = CASES[name]
    wanted, gradients = case.loss.value_and_grad(*case.embeddings, *case.labels)
    value, found = run(case.loss, case.embeddings, case.labels)
    assert "float64" in str(value.dtype)
    assert float(value) == pytest.approx(UPSTREAM * float(wanted), rel=1e-12, abs=1e-12)
    assert len(found) == len(gradients)
    for got, want in zip(found, gradients, strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, UPSTREAM * want, atol=1e-11 * np.abs(want).max(), rtol=1e-9)
