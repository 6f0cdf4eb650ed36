"""The loops against the published figures."""

import math

import pytest
from support.cases import LOSSES

from oracles import (
    batchtriplet,
    ntxent,
    similarity,
    supcr,
)
from oracles.figures import CHECK_SUMS, FIGURES, LABELS, RANKED, A, B, X
from oracles.stable import log_sum_exp


def test_inputs_are_those_of_the_tables():
    for got, want in CHECK_SUMS:
        assert math.isclose(got, want, abs_tol=6e-9)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.who)
def test_figure(figure):
    inputs = [x if isinstance(x, list) else x.tolist() for x in figure.inputs]
    got = LOSSES[figure.loss].loops(*inputs, **figure.fields)
    assert math.isclose(got, figure.value, abs_tol=figure.within())


def test_one_way_dcl():
    """raminnakhli's DCL is the half of the anchors that are in the first view."""
    a, b = A.tolist(), B.tolist()
    for temperature, value in ((0.5, 1.318136), (0.1, -2.521341)):
        losses = ntxent.ntxent(
            a, b, temperature=temperature, denominator="negatives", reduction="none"
        )
        assert math.isclose(math.fsum(losses[:8]) / 8, value, abs_tol=6e-7)


def test_batch_hard_where_the_singleton_counts():
    """ST takes its farthest positive to be itself, at distance 0."""
    fields = {"margin": 5.0, "mining": "hard"}
    rows = X.tolist()
    others = math.fsum(batchtriplet.batchtriplet(rows, LABELS, **fields, reduction="none"))
    own = 5 - min(math.dist(rows[9], x) for x in rows[:9])
    assert math.isclose((others + own) / 10, 4.648350, abs_tol=6e-7)


def test_note_counts_every_row_as_its_own_positive():
    """The note's 51.74614355 is the bare sum of log ratios over all i, k, where k may be i.

    The terms with k != i are minus 12 times the mean. That with k = i asks for the rows at least
    as far as 0 away, so for all j != i: log( exp(s_ii) / sum over j != i of exp(s_ij) ), which a
    positive outside its own denominator makes larger than 0.
    """
    rows = RANKED.tolist()
    fields = {"temperature": 0.5, "similarity": "dot"}
    between = -12 * supcr.supcr(rows, rows, **fields)
    assert math.isclose(between, -18.12692834, abs_tol=6e-9)
    own = []
    for i in range(4):
        s = [similarity.dot(rows[i], x) / 0.5 for x in rows]
        own.append(s[i] - log_sum_exp([s[j] for j in range(4) if j != i]))
    for got, want in zip(own, (-26.0, 46.0, 32.0, 17.87307189), strict=True):
        assert math.isclose(got, want, abs_tol=6e-9)
    assert math.isclose(math.fsum(own), 69.87307189, abs_tol=6e-9)
    assert math.isclose(between + math.fsum(own), 51.74614355, abs_tol=6e-9)
