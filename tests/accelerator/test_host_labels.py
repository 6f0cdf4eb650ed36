"""Labels of the host beside embeddings of an accelerator: sorted before they travel."""

import numpy as np
import pytest
import torch
from support.launches import Launches

import nearfar as nf
from nearfar.frameworks.torch import device as accelerator
from nearfar.frameworks.torch.pure import Pure

N = 40
NUMBERS = np.arange(N) * 7 % 5
LABELS = {
    "list": NUMBERS.tolist(),
    "text": np.array([f"class {k}" for k in NUMBERS]),
    "numpy": NUMBERS.astype(np.uint8),
    "float": NUMBERS - 0.5,
    "tensor": torch.tensor(NUMBERS, dtype=torch.int32),
    "two": torch.tensor(NUMBERS > 2),
}
ROWS = torch.linspace(-1, 2, N * 6).reshape(N, 6).mul(7).sin()
OTHERS = ROWS.flip(0).cos()
CALLS = {
    "supcon": (nf.SupCon(), lambda x, y, labels: ((x, labels), {})),
    "own": (nf.SupCon(denominator="own_positive"), lambda x, y, labels: ((x, labels), {})),
    "triplets": (nf.BatchTriplet(), lambda x, y, labels: ((x, labels), {})),
    "circle": (nf.Circle(), lambda x, y, labels: ((x, labels), {})),
    "reference": (
        nf.SupCon(),
        lambda x, y, labels: ((x, labels), {"reference": y, "reference_labels": labels}),
    ),
    "ids": (nf.CLIP(), lambda x, y, labels: ((x, y), {"ids": labels})),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_sorted_and_nobody_waits(name, kind):
    loss, call = CALLS[name]
    x, y = (torch.empty(N, 6, device="meta") for _ in range(2))
    given, named = call(x, y, LABELS[kind])
    with Launches() as count:
        loss.value_and_grad(*given, **named)
    if name != "triplets":  # whose distances are sorted, and ties asked for
        assert not count.waits
        assert not any("sort" in each for each in count.launches)


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("name", CALLS)
def test_as_of_labels_on_the_device(name, tile, device, monkeypatch):
    loss, call = CALLS[name]
    loss = loss.with_options(tile=tile, kernel="tiles")
    x, y = (a.double().to(device) for a in (ROWS, OTHERS))
    monkeypatch.setattr(accelerator, "WINDOW", 16)
    given, named = call(*(np.asarray(a.double()) for a in (ROWS, OTHERS)), NUMBERS)
    want, (wanted, *_) = loss.value_and_grad(*given, **named)
    if device.type == "cpu":
        # Labels stay readable: what is not floating stands for the host's.
        monkeypatch.setattr(Pure, "accelerated", lambda self, x: x.is_floating_point())
    for labels in (LABELS["text"], LABELS["tensor"]):
        given, named = call(x, y, labels)
        value, (found, *_) = loss.value_and_grad(*given, **named)
        assert value.dtype == torch.float64
        assert float(value) == pytest.approx(float(want), rel=1e-11)
        assert np.abs(np.asarray(found.cpu()) - wanted).max() <= 1e-10 * np.abs(wanted).max()


def test_labels_of_both_places_meet_on_the_device(device):
    labels = torch.tensor(NUMBERS)
    want = nf.SupCon()(ROWS, labels, reference=OTHERS, reference_labels=labels)
    got = nf.SupCon()(
        ROWS.to(device), labels, reference=OTHERS.to(device), reference_labels=labels.to(device)
    )
    assert float(got) == pytest.approx(float(want), rel=1e-5)
    x = torch.empty(N, 6, device="meta")
    there = torch.empty(N, dtype=torch.int64, device="meta")
    nf.SupCon().value_and_grad(x, labels, reference=x.clone(), reference_labels=there)
