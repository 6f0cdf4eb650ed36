"""The report: the answer first, in one sentence; the equal call; words that do not run together."""

import re

import numpy as np
import pytest
from support.targets import samples, strangers

import nearfar as nf
from nearfar.check import Report, check
from nearfar.check.failures import failed
from nearfar.check.finding import FAULT, Finding
from nearfar.check.identity.identify import Identity
from nearfar.check.identity.naming import Statement
from nearfar.check.soundness.cost import check_cost
from nearfar.check.target.calls import Measured
from nearfar.check.target.probing import probe
from nearfar.check.target.running import InProcess
from nearfar.check.target.targets import as_target


def test_the_answer_comes_first_and_columns_stand_apart():
    report = check(samples.squared_triplet, parts=["identity", "stability"])
    first, *rest = str(report).splitlines()
    assert first == report.answer == "It is Triplet(margin=0.2), and sound."
    assert all(re.match(r"  \S.*\S {2,}\S|  {3,}\S|\S", line) for line in rest), report


def test_what_is_unsafe_is_in_the_answer():
    report = Report("f", True, findings=(Finding("run", FAULT, "crashes"),))
    assert report.answer.endswith("and it is unsafe: 1 fault.")
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("form", "arguments", "loss", "swapped", "call"),
    [
        ("views", ("a", "b"), nf.NTXent(), False, "nf.NTXent(temperature=0.5)(a, b)"),
        ("views", ("k", "q"), nf.InfoNCE(), True, "nf.InfoNCE(temperature=0.07)(q, k)"),
        (
            "stacked",
            ("pairs",),
            nf.NTXent(),
            False,
            "nf.NTXent(temperature=0.5)(pairs[:, 0], pairs[:, 1])",
        ),
        (
            "labels_first",
            ("y_true", "y_pred"),
            nf.SupCon(),
            False,
            "nf.SupCon(temperature=0.1)(y_pred, y_true)",
        ),
        (
            "stacked_labels",
            ("features", "labels"),
            nf.SupCon(),
            False,
            "nf.SupCon(temperature=0.1)(*nf.flatten_views(features, labels))",
        ),
    ],
)
def test_the_equal_call_is_in_the_author_s_order(form, arguments, loss, swapped, call):
    identity = Identity(Statement(loss, swapped=swapped), True)
    report = Report("f", True, form=form, arguments=arguments, identity=identity)
    assert report.equal_call == call


def test_steps_are_told():
    said = []
    check(strangers.anchors, framework="numpy", parts=["identity"], progress=said.append)
    assert said[0] == "trying how it is called"
    assert any("comparing" in step for step in said)


def test_alike_errors_are_one_line():
    failures = [
        ("views", "ValueError: shapes (4,5) (5,4)"),
        ("queue", "ValueError: shapes (8,7) (7,8)"),
        ("labels", "f() takes 1 positional argument but 2 were given"),
    ]
    (found,) = failed(failures)
    assert found.text == "called as views, queue: ValueError: shapes (4,5) (5,4)"


class Slow(InProcess):
    """Every call takes its own 430 times what nearfar takes."""

    def measure(self, call, loss):
        return Measured(0.43 if loss is None else 0.001, 1e7)


def test_slowness_is_a_note_with_its_factor():
    runner = Slow(as_target(strangers.anchors))
    (ran, *_), _ = probe(runner, "views", "numpy", None)
    identity = check(strangers.anchors, framework="numpy", parts=["identity"]).identity
    _, findings = check_cost(runner, ran, None, identity, 2**30)
    assert [f.level for f in findings] == ["note"]
    assert "430 times as long as nearfar" in findings[0].text


class Busy(InProcess):
    """A machine so busy that the first size takes too long."""

    def measure(self, call, loss):
        return Measured(5.0, 1e5)


def test_no_measurement_is_no_fault():
    runner = Busy(as_target(lambda a, b: float(np.sum(a * b))))
    (ran, *_), _ = probe(runner, "views", "numpy", None)
    facts, findings = check_cost(runner, ran, None, Identity(None, False), 2**30)
    assert facts["memory_exponent"] is None
    assert not findings
    assert "too small to tell" in dict(facts["lines"])["memory"]
