"""What is false is not said for sure, and what is common is said: strangers' losses, by kind."""

import re

import numpy as np
import pytest
from support.targets import strangers

import nearfar as nf
from nearfar.check import check
from nearfar.check.identity.alike import equal


def told(fn, **given):
    return check(fn, framework="numpy", parts=["identity"], **given)


@pytest.mark.parametrize(
    ("fn", "loss", "changes"),
    [
        (strangers.always_active, nf.Triplet(margin=5.0, distance="euclidean"), ()),
        (strangers.without_hinge, nf.Triplet(margin=5.0, distance="euclidean"), ("no hinge",)),
        (strangers.all_of_all, nf.BatchTriplet(margin=5.0, count="all"), ()),
        (strangers.all_of_active, nf.BatchTriplet(margin=5.0), ()),
        (strangers.all_without_hinge, nf.BatchTriplet(margin=5.0, count="all"), ("no hinge",)),
        (strangers.far_pairs, nf.PairMargin(margin=20.0), ()),
    ],
)
def test_a_margin_beyond_all_distances_hides_nothing(fn, loss, changes):
    """Rows are made as long as the margin, where a hinge, its mean and none of them differ."""
    found = told(fn).identity
    assert found.sure
    assert (found.statement.loss, found.statement.changes) == (loss, changes)


@pytest.mark.parametrize(
    ("fn", "change"),
    [
        (strangers.anchors, ""),
        (strangers.pair_sums, "one value per pair, the sum of its two anchors'"),
        (strangers.pair_means, "one value per pair, the mean of its two anchors'"),
    ],
)
def test_a_value_per_pair_is_none_per_anchor(fn, change):
    report = told(fn)
    assert report.identity.statement.loss == nf.NTXent(reduction="none")
    assert report.identity.statement.changes == ((change,) if change else ())
    assert report.exit_code == bool(change)


def test_stacked_views_may_come_back_one_value_an_object():
    report = told(strangers.object_means)
    assert report.form == "stacked_labels"
    assert report.identity.sure
    assert report.identity.statement.loss.reduction == "none"
    assert report.identity.statement.changes == ("one value per object, the mean of its views'",)


@pytest.mark.parametrize(
    ("fn", "code"), [(strangers.with_an_epsilon, 0), (strangers.with_a_small_term, 1)]
)
def test_something_small_is_no_factor(fn, code):
    report = told(fn)
    assert report.identity.statement.loss == nf.NTXent()
    assert report.identity.small
    assert "something small that is added" in report.answer
    assert "multiplied" not in str(report)
    assert report.exit_code == code


def test_an_epsilon_is_wrong_where_it_is_large_and_the_digits_show_it():
    report = check(strangers.with_an_epsilon, framework="numpy", parts=["identity", "stability"])
    (found,) = report.faults
    numbers = re.findall(r"(?:is|right is) (-?[0-9.]+)", found.text)
    assert len(set(numbers)) == 2, found.text
    assert report.stability["temperature"]["float64"][0] < 0.5


@pytest.mark.long  # it is tried in every form
def test_an_array_is_never_a_temperature():
    assert told(strangers.broadcasts, call=None).form not in ("views", "labels", "targets")


def test_a_number_that_is_missing_is_named():
    report = told(strangers.siglip)
    assert report.exit_code == 2
    assert "missing 1 required positional argument: 'logit_bias'" in report.answer
    assert "--set logit_bias=VALUE" in report.answer
    report = told(strangers.siglip, arguments={"logit_bias": -10.0})
    assert report.identity.exact == nf.SigLIP(temperature=0.5)


def test_a_temperature_that_multiplies():
    report = told(strangers.siglip_times)
    assert report.identity.exact == nf.SigLIP(temperature=0.1)
    assert any("'t' multiplies" in f.text for f in report.notes)
    assert report.exit_code == 0


def test_a_scale_that_is_a_logarithm():
    report = told(strangers.of_a_logarithm, call="views", batches=6)
    assert equal(report.identity.exact, nf.CLIP(temperature=np.exp(-2.659)))
    assert any("exp(-logit_scale)" in f.text for f in report.notes)
    assert report.exit_code == 0


def test_a_penalty_without_its_half():
    assert told(strangers.penalised, call="views").identity.exact == nf.NPair(l2=0.04)


@pytest.mark.parametrize(
    ("fn", "call", "loss", "word"),
    [
        (
            strangers.hardest_of_all,
            "labels",
            nf.BatchTriplet(margin=0.3, mining="hard"),
            "an anchor without positives counts, with a distance of 0 to them",
        ),
        (
            strangers.barlow_over_one_less,
            "views",
            nf.BarlowTwins(off_diagonal=0.005),
            "standard deviations are over N - 1",
        ),
    ],
)
def test_what_listings_do_otherwise(fn, call, loss, word):
    found = told(fn, call=call).identity
    assert found.sure
    assert found.statement.loss == loss
    (change,) = found.statement.changes
    assert word in change


def test_a_temperature_that_multiplies_is_told_apart_at_its_own_values():
    """Of t = 0.5 or 2 the usual values to vary are not those of 1 / t."""

    def fn(x, y, t=2.0):
        return strangers.siglip(x, y, t, -10.0)

    report = told(fn)
    assert report.identity.exact == nf.SigLIP(temperature=0.5)


@pytest.mark.parametrize(
    ("fn", "loss"),
    [
        (strangers.logits_and_labels, nf.NTXent()),
        (strangers.queue_logits, nf.InfoNCE(temperature=0.07)),
    ],
)
def test_logits_beside_labels_are_taken_to_cross_entropy(fn, loss):
    report = told(fn)
    assert report.identity.exact == loss
    assert any("cross-entropy" in f.text for f in report.notes)


def test_unit_rows_are_tried_where_nothing_fits():
    report = check(strangers.unit_rows_only, framework="numpy", parts=["identity", "stability"])
    assert report.identity.exact == nf.CLIP()
    assert any("takes unit rows for granted" in f.text for f in report.notes)
    assert "open_clip/ClipLoss" in report.implementations
    assert not report.faults


def test_targets_in_a_column_beside_stacked_views():
    report = told(strangers.RankLoss, expect="Rank-N-Contrast/RnCLoss")
    assert report.form == "stacked_target_columns"
    assert report.identity.exact == nf.SupCR()
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (strangers.labels_of_themselves, "labels"),
        pytest.param(strangers.second_view_unseen, "second view", marks=pytest.mark.long),
    ],
)
def test_an_input_that_is_not_looked_at_is_a_fault(fn, name):
    report = told(fn, call="labels" if name == "labels" else "views")
    assert any(f"does not depend on the {name}" in f.text for f in report.faults)


@pytest.mark.parametrize(
    ("fn", "loss", "why"),
    [
        pytest.param(
            strangers.empty_diagonal,
            nf.SupCR(order="nearer"),
            "infinity on ordinary batches, as this convention has to: denominators of the diagonal",
            marks=pytest.mark.long,
        ),
        (
            strangers.nothing_by_nothing,
            nf.SupCon(),
            "NaN on ordinary batches, those with an anchor that has no positive",
        ),
    ],
)
def test_infinity_is_evidence(fn, loss, why):
    report = told(fn)
    assert report.identity.sure
    assert report.identity.statement.loss == loss
    assert any(why in f.text for f in report.faults), report
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("fn", "word"),
    [
        (strangers.softmax_twice, "softmax is taken before cross-entropy"),
        (strangers.smoothed, "labels are smoothed by 0.1"),
        (strangers.margin_taken_off, "a margin of 0.2"),
        (strangers.mispaired, "i ^ 1"),
        (strangers.half_cosine, "(cos + 1) / 2"),
        (strangers.one_logarithm, "one logarithm of the sums over both views"),
        (strangers.columns_of_both, "columns are normalised instead of rows, over both views"),
    ],
)
def test_common_slips_are_named(fn, word):
    report = told(fn, call="views")
    assert report.identity.sure
    (change,) = report.identity.statement.changes
    assert word in change
    assert report.exit_code == 1
