"""The loops against the published figures."""

import math

import pytest

from oracles import infonce, ntxent, supcon
from oracles.figures import CHECK_SUMS, FIGURES, A, B

LOOPS = {"NTXent": ntxent.ntxent, "InfoNCE": infonce.infonce, "SupCon": supcon.supcon}


def test_inputs_are_those_of_the_tables():
    for got, want in CHECK_SUMS:
        assert math.isclose(got, want, abs_tol=6e-9)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.who)
def test_figure(figure):
    inputs = [x if isinstance(x, list) else x.tolist() for x in figure.inputs]
    got = LOOPS[figure.loss](*inputs, **figure.fields)
    assert math.isclose(got, figure.value, abs_tol=figure.within())


def test_one_way_dcl():
    """raminnakhli's DCL is the half of the anchors that are in the first view."""
    a, b = A.tolist(), B.tolist()
    for temperature, value in ((0.5, 1.318136), (0.1, -2.521341)):
        losses = ntxent.ntxent(
            a, b, temperature=temperature, denominator="negatives", reduction="none"
        )
        assert math.isclose(math.fsum(losses[:8]) / 8, value, abs_tol=6e-7)
