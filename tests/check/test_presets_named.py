"""Which public implementations a found loss is: numbers, call and normalisation count."""

import numpy as np
import pytest

import nearfar as nf
from nearfar.check.batches import batches
from nearfar.check.identity.expecting import compare, read_expected
from nearfar.check.identity.identify import Identity
from nearfar.check.identity.implementations import sharing
from nearfar.check.identity.matching import Evidence
from nearfar.check.identity.naming import Statement
from nearfar.check.identity.space import NORMALISED, Stack


def found(loss, kind, *changes, **facts):
    stack = Stack(batches(kind, 1))
    evidence = Evidence(stack, np.zeros((1, 1)), None, np.ones(1))
    return Identity(Statement(loss, changes), True, evidence=evidence, **facts)


LIGHT = nf.HCL(tau_plus=0.2, beta=0.5, similarity="dot")
HCL = nf.HCL(tau_plus=0.1, beta=1.0, similarity="dot")
ALL_TRIPLETS = nf.BatchTriplet(margin=0.05)


@pytest.mark.parametrize(
    ("identity", "name", "is_it"),
    [
        # A beta of 0 is the debiased loss, and another than one that is reweighted.
        (found(HCL, "views"), "joshr17/HCL:hard", True),
        (
            found(LIGHT, "views"),
            "joshr17/HCL:hard",
            True,
        ),
        (found(HCL, "views"), "chingyaoc/DCL", False),
        (found(nf.HCL(beta=0.0, similarity="dot"), "views"), "chingyaoc/DCL", True),
        (found(nf.HCL(beta=0.0, similarity="dot"), "views"), "joshr17/HCL:hard", False),
        # A queue is no batch.
        (found(nf.InfoNCE(), "views"), "MoCo", False),
        (found(nf.InfoNCE(), "queue"), "MoCo", True),
        (found(nf.InfoNCE(), "queue"), "info-nce-pytorch/InfoNCE", False),
        (found(nf.InfoNCE(), "views"), "info-nce-pytorch/InfoNCE", True),
        # Raw rows are no unit rows.
        (found(ALL_TRIPLETS, "labels"), "pytorch-metric-learning/TripletMarginLoss", False),
        (
            found(ALL_TRIPLETS, "labels", NORMALISED),
            "pytorch-metric-learning/TripletMarginLoss",
            True,
        ),
        (found(ALL_TRIPLETS, "labels"), "sentence-transformers/BatchAllTripletLoss", True),
        (
            found(ALL_TRIPLETS, "labels", NORMALISED),
            "sentence-transformers/BatchAllTripletLoss",
            False,
        ),
        # Squared distances of unit rows are cosines, at half the temperature.
        (
            found(nf.SupCon(temperature=0.5, positives="log_sum"), "labels"),
            "pytorch-metric-learning/NCALoss",
            True,
        ),
        # A factor of temperature, to rounding.
        (
            found(
                nf.SupCon(
                    temperature=0.1,
                    similarity="dot",
                    without_positives="zero",
                    scale=(1 / 0.07) * (1 + 3e-16),
                    scale_by="temperature",
                ),
                "labels",
            ),
            "SupContrast/SupConLoss",
            True,
        ),
        (found(nf.CLIP(temperature=0.1), "views"), "keras-io/semisupervised_simclr", True),
        (found(nf.CLIP(), "views", unit=True), "open_clip/ClipLoss", True),
        (found(nf.CLIP(), "views"), "open_clip/ClipLoss", False),
    ],
)
def test_what_makes_a_preset(identity, name, is_it):
    assert (name in sharing(identity)) is is_it
    right, differences = compare(identity, read_expected(name))
    assert right is is_it
    assert is_it or differences


@pytest.mark.parametrize(("beta", "expect", "right"), [
    (1.0, "HCL", True), (0.5, "HCL", True), (0.0, "HCL", False), (1.0, "HCL(beta=0)", False),
])  # fmt: skip
def test_a_number_that_is_zero_is_another_loss(beta, expect, right):
    assert compare(found(nf.HCL(beta=beta), "views"), read_expected(expect))[0] is right
