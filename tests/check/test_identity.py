"""Functions as people write them are named, without hints, in every framework."""

import numpy as np
import pytest
from oracles import drawn_family
from oracles.drawn import draw
from support.targets import other_samples, samples, torch_samples

import nearfar as nf
from nearfar.check import check


def identity(fn, **given):
    return check(fn, parts=["identity"], **given)


def statement(fn, **given):
    found = identity(fn, **given).identity
    assert found.sure, found
    return found.statement


EXACT = {
    samples.nested_ntxent: nf.NTXent(temperature=0.5),
    torch_samples.ntxent: nf.NTXent(temperature=0.5),
    torch_samples.TwiceNTXent: nf.NTXent(temperature=0.1, scale=2),
    torch_samples.pairwise_supcon: nf.SupCon(denominator="own_positive", without_positives="zero"),
    torch_samples.self_supcon: nf.SupCon(include_self=True),
    torch_samples.log_of_sums: nf.SupCon(positives="log_sum"),
    torch_samples.moco: nf.InfoNCE(temperature=0.07),
    torch_samples.hcl_hard: nf.HCL(temperature=0.5, tau_plus=0.1, beta=1.0),
    torch_samples.hcl_easy: nf.NTXent(temperature=0.5),
    samples.squared_triplet: nf.Triplet(margin=0.2),
    samples.rooted_triplet: nf.Triplet(margin=0.2, distance="euclidean"),
    other_samples.tf_supcon: nf.SupCon(temperature=0.1, without_positives="zero"),
    other_samples.jax_clip: nf.CLIP(temperature=0.07),
}


@pytest.mark.parametrize("fn", EXACT, ids=lambda fn: fn.__name__)
def test_named_exactly(fn):
    found = statement(fn)
    assert not found.changes
    assert found.loss == EXACT[fn]


def test_a_margin_at_which_some_batches_are_zero():
    """Values of 0 fit any factor: they say nothing of it, and are no disagreement."""
    found = statement(samples.squared_triplet, arguments={"margin": 0.0})
    assert found.loss == nf.Triplet(margin=0.0)
    assert identity(samples.squared_margin).identity.statement is None


@pytest.mark.long
@pytest.mark.parametrize("order", ["farther", "nearer"])
def test_supcr_without_sign_mean_and_with_the_diagonal(order):
    fn = samples.careless_supcr if order == "farther" else samples.backward_supcr
    found = statement(fn)
    assert found.loss == nf.SupCR(temperature=2.0, scale=-1, order=order)
    diagonal, summed = found.changes
    assert "the diagonal is included" in diagonal
    assert summed == "all pairs are summed, without any mean"
    remarks = found.remarks()
    assert "the sign is reversed" in remarks
    assert any("<= for >=" in r for r in remarks) == (order == "nearer")


def test_what_is_none_of_these_is_not_claimed():
    report = identity(samples.no_loss_of_these)
    assert report.identity.statement is None
    assert not report.identity.sure
    assert not report.identity.nearest  # what is far off says nothing
    assert report.exit_code == 1
    assert "no loss in the space" in str(report)


def test_a_batch_size_is_told_to_the_loss():
    fn, given = torch_samples.SizedNTXent, {"batch_size": 4, "temperature": 0.2}
    assert statement(fn, arguments=given).loss == nf.NTXent(temperature=0.2)


@pytest.mark.parametrize(
    ("fn", "call"), [(lambda a, b: 1.7, "views"), (lambda z, y: len(set(y)) / len(z), "labels")]
)
def test_a_value_of_nothing_is_not_claimed(fn, call):
    """Some convention vanishes at some temperature, and leaves any constant."""
    report = identity(fn, call=call, framework="numpy")
    assert report.identity.statement is None
    assert "does not depend on the embeddings" in report.faults[0].text


@pytest.mark.long  # it is tried in every form
def test_what_is_random_is_told():
    rng = np.random.default_rng(0)
    report = identity(lambda a, b: rng.random(), framework="numpy")
    assert any("it is random" in f.text for f in report.findings)
    assert report.form == "views"  # not the form in which chance came nearest to something


def test_who_shares_it():
    report = identity(torch_samples.TwiceNTXent)
    assert "google-research/simclr" in report.implementations
    assert report.known
    assert report.exit_code == 0


@pytest.mark.parametrize("loss", [nf.NTXent(include_self=True), nf.SupCR(order="nearer")])
def test_a_slip_that_a_field_states_is_no_known_loss(loss):
    report = identity(loss, framework="numpy")
    assert report.identity.exact == loss
    assert not report.known
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("expect", "right"),
    [
        ("ntxent", False),
        ("NTXent(scale=2)", True),
        ("NTXent(scale=2, temperature=0.1)", True),
        ("NTXent(scale=2, temperature=0.2)", False),
        ("google-research/simclr", True),
        ("supcon", False),
    ],
)
def test_expectations(expect, right):
    report = identity(torch_samples.TwiceNTXent, expect=expect, call="views")
    assert report.as_expected is right
    assert report.exit_code == (0 if right else 1)
    if expect == "ntxent":
        assert report.differences == ("divide by 2",)


def test_a_temperature_may_be_a_constant_of_the_code():
    found = identity(lambda a, b: 2 * 0.2 * torch_samples.ntxent(a, b, 0.2)).identity
    assert found.fixed
    assert found.statement.loss == nf.NTXent(temperature=0.2, scale=0.4)


def test_a_factor_of_temperature():
    def fn(a, b, temperature=0.5):
        return temperature / 0.07 * torch_samples.ntxent(a, b, temperature)

    found = statement(fn)
    assert found.loss.scale_by == "temperature"
    assert found.loss.scale == pytest.approx(1 / 0.07)
    assert found.remarks() == ["multiplied by temperature / 0.07"]


@pytest.mark.parametrize("expect", [None, "SupContrast/SupConLoss"])
def test_stacked_views_with_labels(expect):
    """With two views nobody is alone: what a lonely anchor would count as is left open."""
    report = identity(torch_samples.stacked_supcon, expect=expect)
    assert report.form == "stacked_labels"
    assert type(report.identity.exact) is nf.SupCon
    assert "SupContrast/SupConLoss" in report.implementations
    assert report.exit_code == 0


def test_a_temperature_that_is_ignored():
    found = statement(lambda a, b, temperature=0.5: torch_samples.ntxent(a, b, 1.0))
    assert found.changes == ("the temperature is not used",)


def test_a_vector_is_one_value_per_anchor():
    found = statement(nf.SupCon(reduction="none"), framework="torch")
    assert found.loss == nf.SupCon(reduction="none")


@pytest.mark.long
def test_too_small_a_difference_is_no_name():
    """An error of a hundredth in a single pair is neither overlooked nor explained away."""

    def fn(a, b):
        return nf.NTXent()(a, b) + 0.01 * (a[0] * b[1]).sum()

    assert identity(fn, framework="numpy").identity.statement is None


def tally(seeds, draw=draw):
    right, wrong = 0, []
    for seed in seeds:
        drawn = draw(seed)
        found = identity(drawn.fn, framework="numpy").identity
        named = found.statement is not None and drawn.named_by(found.statement)
        right += found.sure and named
        if found.sure and not named:
            wrong.append((seed, str(found.statement)))
    return right, wrong


def test_random_conventions_are_named():
    right, wrong = tally(range(300, 302))
    assert not wrong
    assert right == 2


@pytest.mark.long
def test_more_random_conventions_are_named():
    right, wrong = tally(range(400, 406))
    assert not wrong
    assert right >= 5


def test_random_fields_are_named():
    right, wrong = tally(range(500, 503), drawn_family.draw)
    assert not wrong
    assert right == 3


@pytest.mark.long
def test_more_random_fields_are_named():
    right, wrong = tally(range(600, 610), drawn_family.draw)
    assert not wrong
    assert right >= 9
