"""A temperature that only the device knows: exact however far logits spread, at any tile."""

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.frameworks.torch.pure import Pure

LOSSES = {
    "ntxent": nf.NTXent(),
    "ntxent-self": nf.NTXent(include_self=True),
    "ntxent-first": nf.NTXent(anchors="first"),
    "dcl": nf.DCL(),
    "hcl": nf.HCL(),
    "clip": nf.CLIP(),
    "clip-dot": nf.CLIP(similarity="dot"),
    "supcon": nf.SupCon(),
    "supcon-own": nf.SupCon(denominator="own_positive"),
    "supcon-dot": nf.SupCon(similarity="dot", positives="log_mean"),
    "infonce": nf.InfoNCE(),
    "siglip": nf.SigLIP(),
}
UPSTREAM = 3.0


@pytest.fixture(autouse=True)
def taken_for_one(monkeypatch, device):
    if device.type == "cpu":
        monkeypatch.setattr(Pure, "accelerated", lambda self, x: True)


def _batch(loss, n=36):
    """Rows of which some point away from all others, some are nearly alike, and labels of which
    one is alone."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, n, 9)) + 2 * np.eye(n, 9)[np.arange(n) % 5]
    y[: n // 2] = x[: n // 2] + 0.05 * y[: n // 2]
    x[1], y[2] = -x[3] * 2, -x[3]
    second = np.append(np.arange(n - 1) % 5, 7) if loss.inputs[1] == "labels" else y
    return x, second


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradients(name, temperature, tile, device):
    loss = LOSSES[name]
    x, second = _batch(loss)
    # The host knows the temperature there, and takes another way.
    want, (wanted, *_, slope) = loss.value_and_grad(x, second, temperature=np.array(temperature))
    t = torch.tensor(temperature, dtype=torch.float64, device=device, requires_grad=True)
    leaf = torch.tensor(x, device=device, requires_grad=True)
    options = loss.with_options(kernel="tiles", tile=tile)
    got = options(leaf, torch.tensor(second, device=device), temperature=t)
    assert got.dtype == torch.float64
    assert float(got.detach()) == pytest.approx(float(want), rel=1e-11)
    found, by_t = torch.autograd.grad(UPSTREAM * got, (leaf, t))
    off = np.abs(np.asarray(found.cpu()) - UPSTREAM * wanted).max()
    assert off <= 1e-10 * np.abs(wanted).max()
    assert float(by_t) == pytest.approx(UPSTREAM * float(slope), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
@pytest.mark.parametrize("name", LOSSES)
def test_rows_of_any_size_in_float32(name, scale, device):
    """Logits of 1e33 and of 1e-40 under "dot"; a row of zeros and one of NaN in the end."""
    loss = LOSSES[name].with_options(kernel="tiles")
    x, second = _batch(loss)
    x = (x * scale).astype(np.float32)
    x[4] = 0
    if loss.inputs[1] != "labels":
        second = (second * scale).astype(np.float32)
    kind = second.dtype if loss.inputs[1] == "labels" else np.float64
    t = np.float32(0.02)
    want, (wanted, *_) = loss.value_and_grad(
        x.astype(np.float64), second.astype(kind), temperature=np.array(float(t))
    )
    arrays = [torch.tensor(a, device=device) for a in (x, second, t)]
    value, (found, *_, slope) = loss.value_and_grad(*arrays[:2], temperature=arrays[2])
    assert value.dtype == found.dtype == slope.dtype == torch.float32
    assert float(value) == pytest.approx(float(want), rel=2e-6)
    assert np.abs(np.asarray(found.cpu()) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    arrays[0][0] = float("nan")
    value, (found, *_) = loss.value_and_grad(*arrays[:2], temperature=arrays[2])
    assert bool(torch.isnan(value))
    assert bool(torch.isnan(found[0]).all())


BESIDE = {
    "ids": (nf.CLIP(), {"ids": np.arange(36) // 2}),
    "log_q": (nf.SupCon(), {"log_q": -np.linspace(1, 3, 36)}),
    "exclude": (nf.CLIP(exclude=nf.Exclude(by="self", margin=0.1)), {}),
    "reference": (
        nf.SupCon(),
        {
            "reference": np.linspace(-1, 2, 270).reshape(30, 9),
            "reference_labels": np.arange(30) % 6,
        },
    ),
    "queue": (nf.InfoNCE(), {"queue": np.cos(np.arange(180.0)).reshape(20, 9)}),
    "queue-ids": (
        nf.InfoNCE(same="negative"),
        {"queue": np.cos(np.arange(180.0)).reshape(20, 9), "ids": np.arange(36) // 3},
    ),
}


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("temperature", [0.01, 0.07])
@pytest.mark.parametrize("name", BESIDE)
def test_several_sets_of_candidates(name, temperature, tile, device):
    """Of which several may add to one anchor's sums."""
    loss, named = BESIDE[name]
    given = _batch(loss)
    want, gradients = loss.value_and_grad(*given, **named, temperature=np.array(temperature))
    loss = loss.with_options(kernel="tiles", tile=tile)
    arrays = [torch.tensor(x, device=device) for x in given]
    named = {k: torch.tensor(v, device=device) for k, v in named.items()}
    t = torch.tensor(temperature, dtype=torch.float64, device=device)
    value, found = loss.value_and_grad(*arrays, **named, temperature=t)
    assert float(value) == pytest.approx(float(want), rel=1e-11)
    for g, h in zip(found, gradients, strict=True):
        assert np.abs(np.asarray(g.cpu()) - h).max() <= 1e-9 * np.abs(h).max()
