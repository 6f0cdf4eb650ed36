"""Gradient, stability and cost: what is broken is found, what is not is not blamed."""

from dataclasses import replace

import pytest
from support.targets import other_samples, samples, torch_samples

import nearfar as nf
from nearfar.check import assert_equivalent, check
from nearfar.check.batches import batches
from nearfar.check.identity.identify import Identity
from nearfar.check.soundness.cost import check_cost, large
from nearfar.check.target.calls import Measured
from nearfar.check.target.measuring import measure
from nearfar.check.target.probing import make_call, probe
from nearfar.check.target.process import OwnProcess
from nearfar.check.target.running import InProcess
from nearfar.check.target.targets import as_target


def faults(fn, part, **given):
    report = check(fn, parts=["identity", part], **given)
    return report, [f.text for f in report.faults]


@pytest.mark.long
def test_a_sound_loss_has_no_fault():
    report = check(torch_samples.ntxent, call="views")
    assert not report.faults, report
    assert report.exit_code == 0
    assert report.gradient["differences"] < 1e-6
    assert report.gradient["nearfar"] < 1e-12
    assert report.stability["temperature"]["float32"][0] == 0.001
    assert report.cost["nearfar"]["bytes"]


def test_a_detached_input_is_found():
    report, found = faults(torch_samples.cut, "gradient", call="views")
    assert found == ["b gets no gradient: it is cut, by detach, stop_gradient or a NumPy call"]
    assert report.exit_code == 1


def test_a_gradient_cut_by_numpy_is_found():
    _, (found,) = faults(torch_samples.cut_by_numpy, "gradient", call="views")
    assert found.startswith("no input gets a gradient")


def test_a_part_of_the_computation_that_is_cut_is_found():
    def fn(a, b, temperature=0.5):
        half = torch_samples.ntxent(a, b, temperature) / 2
        return half + half.detach()

    _, (*found,) = faults(fn, "gradient", call="views")
    assert found[0] == "a: the gradient is 0.5 times the derivative of the value"


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (torch_samples.masked_before_the_temperature, ("'temperature'", "divided")),
        (torch_samples.MaskedBeforeTheScale, ("'logit_scale'", "multiplied")),
        (torch_samples.ntxent, ()),
        (torch_samples.TwiceNTXent, ()),
    ],
)
def test_a_mask_before_a_learned_temperature_is_named(fn, words):
    report, found = faults(fn, "gradient", call="views", framework="torch")
    notes = [f.text for f in report.notes if "learned" in f.text]
    assert found == []
    assert report.gradient["nearfar"] < 1e-9
    assert len(notes) == (len(words) > 0)
    assert all(word in notes[0] for word in words)


def test_a_mask_before_a_learned_temperature_is_named_from_another_process():
    place = f"{torch_samples.__file__}:masked_before_the_temperature"
    report = check(place, parts=["identity", "gradient"], call="views", framework="torch")
    assert any("0 times infinity" in f.text for f in report.notes)


@pytest.mark.long
def test_a_mask_before_a_learned_temperature_is_named_in_jax():
    jax = pytest.importorskip("jax")

    def fn(a, b, temperature=0.5):
        z = jax.numpy.concatenate([a, b])
        z = z / jax.numpy.linalg.norm(z, axis=1, keepdims=True)
        s = jax.numpy.where(jax.numpy.eye(len(z), dtype=bool), -jax.numpy.inf, z @ z.T)
        logits = s / temperature
        n = len(a)
        partners = (jax.numpy.arange(2 * n) + n) % (2 * n)
        taken = logits[jax.numpy.arange(2 * n), partners]
        return (jax.scipy.special.logsumexp(logits, axis=1) - taken).mean()

    report, _ = faults(fn, "gradient", call="views", framework="jax")
    assert any("'temperature' that is learned is nan" in f.text for f in report.notes)


def test_weights_that_are_constants_by_design_are_no_fault():
    """Of a loss that is another's but for what divides it, too."""
    report, found = faults(torch_samples.circle, "gradient", call="labels", framework="torch")
    assert report.identity.statement.changes == ("divided by the number of anchors",)
    assert found == []
    assert report.gradient["detach"]


def test_a_gradient_that_is_cut_is_blamed_once():
    def fn(z, labels, temperature=0.1):
        s, positive, _, itself = torch_samples._parts(z, labels, temperature)
        s = (z @ z.detach().T) / temperature
        terms = s.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True) - s
        count = positive.sum(1)
        return ((terms * positive).nan_to_num(0).sum(1) / count.clamp(min=1))[count > 0].mean()

    report = check(fn, call="labels", parts=["identity", "gradient", "stability"])
    (cut,) = [f.text for f in report.faults if "gradient" in f.text]
    assert "not the derivative of the value" in cut
    assert cut.endswith("rows get no gradient")


def test_a_queue_without_a_gradient_hides_no_other():
    def fn(q, k, queue, temperature=0.1):
        return torch_samples.moco(q, k, queue.detach(), temperature)

    report, found = faults(fn, "gradient", call="queue")
    assert not found
    assert report.gradient["differences"] < 1e-6
    assert report.gradient["nearfar"] < 1e-12


def test_what_goes_on_in_float32_is_held_to_float32():
    parts = ["identity", "gradient", "stability"]
    report = check(other_samples.KerasPairs(), call="labels_first", parts=parts)
    assert report.dtype == "float32"
    assert report.identity.exact == nf.PairMargin(margin=1.0, scale=2)
    assert not report.faults, report
    assert report.stability["scale"]["float64"][0] > 1


def test_a_complex_value_is_refused():
    report = check(lambda a, b: (a * b).sum() + 1j, call="views", framework="numpy")
    assert report.exit_code == 2
    assert "complex" in report.faults[0].text


def test_overflow_at_a_low_temperature_is_found():
    report, (found,) = faults(torch_samples.overflows, "stability", call="views")
    assert found == "float32: wrong from temperature 0.01 down (the value is nan)"
    assert report.stability["temperature"]["float32"][0] == 0.02
    assert report.stability["temperature"]["float64"][0] < 0.01


def test_nan_without_positives_is_found():
    _, (found,) = faults(torch_samples.nan_without_positives, "stability", call="labels")
    assert found == "no positives: the value is nan"


class Grows(InProcess):
    """A loss whose memory is known, so that no machine decides what is found."""

    def __init__(self, bytes_at):
        super().__init__(as_target(torch_samples.ntxent))
        self.bytes_at = bytes_at

    def measure(self, call, loss):
        return Measured(1e-3, self.bytes_at(call.arrays[0].shape[0] * 2))


@pytest.mark.parametrize(
    ("bytes_at", "exponent", "found"),
    [
        (lambda n: 4 * n**3, 3, "fault"),
        (lambda n: 40 * n**2, 2, None),
        (lambda n: 40 * n**2 + n**3 / 8, None, None),  # no larger than squares would be
        (lambda n: 10_000 * n, 1, None),
    ],
)
def test_memory_is_a_fault_from_cubes_on(bytes_at, exponent, found):
    runner = Grows(bytes_at)
    (ran,), _ = probe(runner, "views", None, None)
    facts, findings = check_cost(runner, ran, None, Identity(None, False), 2**36)
    assert [f.level for f in findings] == ([found] if found else [])
    assert all("memory grows with n^3.0" in f.text for f in findings)
    if exponent:
        assert facts["memory_exponent"] == pytest.approx(exponent)


@pytest.mark.parametrize(("name", "power"), [("ntxent", 2), ("cubic", 3)])
def test_memory_is_seen(name, power):
    # In a process of its own, as on the command line: here memory of earlier tests would be used.
    with OwnProcess(f"{torch_samples.__file__}:{name}", {}, 240, 2**33) as runner:
        ran, *_ = probe(runner, None, None, None)[0]
        made = large(ran.form.kind, 256)
        measured = runner.measure(make_call(replace(ran, dtype="float32"), made, {}, True), None)
    assert measured.bytes > 4 * 256**power


def test_peak_memory_counts_what_is_freed_again():
    import numpy as np

    target = as_target(lambda a, b: float(np.ones(10_000_000).sum()))
    (ran,), _ = probe(InProcess(target), "views", "numpy", None)
    call = make_call(ran, batches("views", 1)[0], {})
    assert measure(target, call, None).bytes == pytest.approx(80e6, rel=0.1)


def test_assert_equivalent():
    assert_equivalent(torch_samples.ntxent, nf.NTXent())
    assert_equivalent(samples.squared_triplet, nf.Triplet())


@pytest.mark.parametrize(
    ("fn", "loss", "said"),
    [
        (
            torch_samples.TwiceNTXent,
            nf.NTXent(temperature=0.1),
            r"in value it is NTXent\(.*scale=2",
        ),
        (torch_samples.cut, nf.NTXent(), "an input gets no gradient"),
        (samples.gives_nan, nf.NTXent(), "it gives nan"),
        (samples.wants_more, nf.NTXent(), "could not be run"),
    ],
)
def test_assert_equivalent_says_what_differs(fn, loss, said):
    with pytest.raises(AssertionError, match=said):
        assert_equivalent(fn, loss, call="views")


def test_assert_equivalent_refuses_a_form_of_other_inputs():
    with pytest.raises(ValueError, match="inputs of NTXent"):
        assert_equivalent(torch_samples.ntxent, nf.NTXent(), call="labels")
