"""Every framework and mode gives the value and gradient of NumPy in float64."""

import jax
import numpy as np
import pytest
from candidates.calls import CALLS
from support.backends import DIFFERENTIABLE

jax.config.update("jax_enable_x64", True)

UPSTREAM = 3.0
# One of each kind where a mode is slow.
FEW = {"supcon-log-q-both", "ntxent-exclude", "clip-guide", "infonce-joint", "infonce-facts-mine"}


def cells():
    for backend in DIFFERENTIABLE.values():
        for mode in backend.modes:
            for name, call in CALLS.items():
                if "XLA" in mode and name.startswith("infonce"):
                    continue  # TensorFlow's own error: see docs/architecture.md
                if call.loss.reduction == "none":
                    continue
                if mode in backend.alike and name != "supcon-log-q-both":
                    continue
                quick = backend.name == "torch" and mode == "eager"
                some = name in FEW and backend.name != "jax" and mode == "eager"
                marks = [] if quick or some else [pytest.mark.long]
                if not quick and name not in FEW:
                    continue
                yield pytest.param(
                    backend, mode, name, id=f"{backend.name}-{mode}-{name}", marks=marks
                )


@pytest.mark.parametrize(("backend", "mode", "name"), list(cells()))
def test_agrees_with_numpy(backend, mode, name):
    call = CALLS[name]
    expected, gradients = call.loss.value_and_grad(*call.given, **call.named)
    found = []

    def taken(x):
        """In place of an array its number among the facts, which the program is given beside."""
        if isinstance(x, tuple):
            return tuple(map(taken, x))
        if x is None:
            return None
        found.append(backend.asarray(x) if x.dtype.kind == "f" else backend.labels(x))
        return len(found) - 1

    where = call.embeddings
    rest = [None if k in where else taken(x) for k, x in enumerate(call.given)]
    named = {key: taken(x) for key, x in call.named.items()}

    def function(*arrays):
        facts = arrays[len(where) :]

        def given(x):
            if isinstance(x, tuple):
                return tuple(map(given, x))
            return None if x is None else facts[x]

        inputs = [given(x) for x in rest]
        for k, x in zip(where, arrays, strict=False):
            inputs[k] = x
        return call.loss(*inputs, **{key: given(x) for key, x in named.items()})

    inputs = [backend.asarray(call.given[k]) for k in where]
    value, slopes = backend.differentiate(function, inputs, *found, upstream=UPSTREAM, mode=mode)
    assert backend.dtype(value) == "float64"
    assert float(value) == pytest.approx(float(expected), rel=1e-11, abs=1e-12)
    for got, wanted in zip(slopes, gradients, strict=True):
        assert backend.dtype(got) == "float64"
        scale = max(np.abs(wanted).max(initial=0), 1e-12)
        np.testing.assert_allclose(
            backend.read(got), UPSTREAM * wanted, atol=1e-10 * scale, rtol=1e-8
        )
