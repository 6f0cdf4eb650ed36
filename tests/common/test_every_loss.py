"""Every loss passes what `nearfar.testing` holds a loss of anybody's to, against its oracle."""

import dataclasses

import numpy as np
import pytest
from support.cases import CASES as IN_MODES
from support.cases import LOSSES, batches_in

from nearfar.testing import check_loss

# Logits of thousands have no digits left in float32: tests/losses holds it to bounds of its own.
TOO_SHARP = {"supcr-wide"}
# Of each evaluator, and of each kind of rows one.
ONE_OF_EACH = {"ntxent", "infonce", "siglip", "triplet", "soft-given", "supcr", "batchtriplet"}
ONE_OF_EACH |= {"circle", "koleo", "barlowtwins", "cosent", "smoothap"}
CASES = {
    name: (case.loss, entry.loops)
    for entry in LOSSES.values()
    for name, case in entry.cases.items()
    if name not in TOO_SHARP
}


def hold(case, frameworks):
    loss, loops = CASES[case]
    fields = {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}

    def reference(*inputs):
        return loops(*(np.asarray(x).tolist() for x in inputs), **fields)

    if frameworks == ["torch"]:
        # Its programs have the loops over tiles that tests/modes leaves to these.
        loss = loss.with_options(tile=8)
    constant = [loss.stated(name) for name in ("detach_weights", "detach", "hardness")]
    exact = not any(constant)
    report = check_loss(
        loss,
        reference,
        batches=batches_in(frameworks, loss),
        frameworks=frameworks,
        exact_gradient=exact,
    )
    assert not report.left_out


@pytest.mark.parametrize("case", CASES)
def test_numpy(case):
    hold(case, ["numpy"])


def cells():
    """One of each evaluator by default: tests/modes runs every program of every case. Where it
    takes longest one of each at length too, and those with proxies, which are not run there."""
    for framework in ("torch", "tensorflow", "jax"):
        for case in (next(iter(entry.cases)) for entry in LOSSES.values()):
            if framework != "torch" and case in IN_MODES and case not in ONE_OF_EACH:
                continue
            quick = framework == "torch" and case in ("ntxent", "supcr")
            marks = [] if quick else [pytest.mark.long]
            yield pytest.param(framework, case, id=f"{framework}-{case}", marks=marks)


@pytest.mark.parametrize(("framework", "case"), list(cells()))
def test_frameworks(framework, case):
    if framework == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    hold(case, [framework])
