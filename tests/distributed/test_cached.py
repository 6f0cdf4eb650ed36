"""A step in chunks is the step of the whole batch."""

import copy
from itertools import accumulate

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import nearfar as nf
import nearfar.torch
from nearfar.frameworks.memory import Spare, Stores
from nearfar.frameworks.torch import namespace as frameworks

ROWS, CHUNK = 1024, 64


def _encoder(features=6, dtype=torch.float32):
    torch.manual_seed(3)
    layers = nn.Linear(features, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 8)
    return nn.Sequential(*layers).to(dtype)


def _data(*features, n=ROWS):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(n, f, generator=generator) for f in features]


def _whole(encoders, batch, criterion, *facts, chunk=CHUNK):
    """All graphs kept: the encoder on the same chunks, in the same order."""
    encoded = [
        torch.cat([f(x) for x in rows.split(chunk)])
        for f, rows in zip(encoders, batch, strict=True)
    ]
    value = criterion(*encoded, *facts)
    value.backward()
    return value.detach()


def _agree(ours, theirs, tolerance=1e-6):
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    assert pairs
    for x, y in pairs:
        assert y.grad.abs().max() > 0
        assert (x.grad - y.grad).abs().max() <= tolerance * y.grad.abs().max()


def test_two_encoders_and_a_learned_temperature_with_dropout():
    one = nn.ModuleList([_encoder(6), _encoder(4), nearfar.torch.Loss(nf.CLIP(), True)])
    two = copy.deepcopy(one)
    x, y = _data(6, 4)
    torch.manual_seed(11)
    expected = _whole(two[:2], (x, y), two[2])
    after = torch.rand(1)
    torch.manual_seed(11)
    value = nearfar.torch.cached_step(tuple(one[:2]), (x, y), one[2], chunk=CHUNK)
    assert torch.rand(1) == after
    assert not value.requires_grad
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    _agree(one, two)


def test_labels_uneven_chunks_and_gradients_that_are_added():
    one = _encoder()
    two = copy.deepcopy(one)
    (x,) = _data(6, n=203)
    labels = torch.arange(203) % 7
    for scale in (1.0, 0.5):
        torch.manual_seed(11)
        loss = nf.SupCon(scale=scale)
        expected = _whole([two], [x], loss, labels)
        torch.manual_seed(11)
        value = nearfar.torch.cached_step(one, x, loss, labels, chunk=CHUNK)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    _agree(one, two)


def test_two_views_through_one_encoder_under_autocast():
    one = _encoder()
    two = copy.deepcopy(one)
    a, b = _data(6, 6, n=130)
    seen = []
    one.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(11)
        expected = _whole([two, two], [a, b], nf.NTXent())
        torch.manual_seed(11)
        value = nearfar.torch.cached_step(one, (a, b), nf.NTXent(), chunk=CHUNK)
    assert set(seen) == {torch.bfloat16}
    assert len(seen) == 12
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    _agree(one, two, 0.02)  # bfloat16 sums of the weights' gradients differ in their order


@pytest.fixture
def peak(monkeypatch):
    """Bytes held at most during a step, beyond those before it, the loss's buffers among them."""
    # NumPy's memory, of which buffers are made, is not seen by the profiler.
    monkeypatch.setattr(frameworks, "_NUMPY", {})

    def measure(step):
        monkeypatch.setattr(frameworks, "_SPARE", Spare(frameworks._empty))
        monkeypatch.setattr(frameworks, "_STORES", Stores(frameworks._empty))
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            step()
        events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
        return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))

    return measure


def _convolutions():
    blocks = []
    for before, after, stride in ((3, 32, 1), (32, 64, 2), (64, 128, 2)):
        layer = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        blocks += [layer, nn.GroupNorm(8, after), nn.ReLU()]
    encoder = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 128))
    return encoder, torch.randn(ROWS, 3, 32, 32)


def _narrow():
    encoder = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64))
    return encoder, torch.randn(ROWS, 64)


LABELS = torch.arange(ROWS) % 7


def _peaks(peak, encoder, x, loss):
    """Of one chunk's step, of the step of all chunks, and of the loss alone; embeddings' bytes."""
    encoder(x[:2]).sum().backward()
    with torch.no_grad():
        z = torch.cat([encoder(rows) for rows in x.split(CHUNK)]).requires_grad_()
    one = peak(lambda: encoder(x[:CHUNK]).sum().backward())
    ours = peak(lambda: nearfar.torch.cached_step(encoder, x, loss, LABELS, chunk=CHUNK))
    return one, ours, peak(lambda: loss(z, LABELS).backward()), z.nbytes


def test_peak_memory_is_that_of_a_chunk_and_the_embeddings(peak):
    encoder, x = _convolutions()
    one, ours, _, embeddings = _peaks(peak, encoder, x, nf.SupCon())
    assert one < ours <= 1.3 * (one + embeddings)
    assert peak(lambda: _whole([encoder], [x], nf.SupCon(), LABELS)) > 5 * ours


@pytest.mark.parametrize("memory", [2**18, 64 * 2**20])
def test_peak_memory_of_a_narrow_encoder_is_that_of_the_loss(peak, memory):
    one, ours, loss, embeddings = _peaks(peak, *_narrow(), nf.SupCon().with_options(memory=memory))
    assert ours > one + embeddings  # or the bound below is not met for its reason
    states = ROWS // CHUNK * torch.get_rng_state().nbytes
    assert ours <= 1.02 * (states + embeddings + max(loss, one))


def test_a_frozen_encoder_gets_no_gradient():
    one = nn.ModuleList([_encoder(6), _encoder(4)])
    one[0].requires_grad_(False)
    two = copy.deepcopy(one)
    x, y = _data(6, 4, n=130)
    torch.manual_seed(11)
    expected = _whole(two, (x, y), nf.CLIP())
    torch.manual_seed(11)
    value = nearfar.torch.cached_step(tuple(one), (x, y), nf.CLIP(), chunk=CHUNK)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert all(p.grad is None for p in one[0].parameters())
    _agree(one[1], two[1])


class _Text(nn.Module):
    """Mean of the words' vectors, those that the mask names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.words, self.drop = nn.Embedding(20, 5), nn.Dropout(0.3)

    def forward(self, text):
        ids, mask = (text["ids"], text["mask"]) if isinstance(text, dict) else text
        known = mask[..., None].float()
        return (self.drop(self.words(ids)) * known).sum(1) / known.sum(1)


@pytest.mark.parametrize("kind", ["mapping", "tuple", "one mapping"])
def test_inputs_of_several_tensors(kind):
    """Tokenised text: ids and a mask; what is no tensor goes to every chunk."""
    generator = torch.Generator().manual_seed(5)

    def text():
        ids = torch.randint(0, 20, (37, 4), generator=generator)
        mask = torch.rand(37, 4, generator=generator) < 0.8
        mask[:, 0] = True
        return (ids, mask) if kind == "tuple" else {"ids": ids, "mask": mask, "task": "query"}

    one = _Text()
    two = copy.deepcopy(one)
    if kind == "one mapping":
        inputs, loss, side = [text()], nf.SupCon(scale=3.0), (torch.arange(37) % 5,)
    else:
        inputs, loss, side = [text(), text()], nf.NTXent(scale=3.0), ()

    def parts(x):
        each = [v.split(8) if torch.is_tensor(v) else [v] * 5 for v in _values(x)]
        rows = list(zip(*each, strict=True))
        return rows if isinstance(x, tuple) else [dict(zip(x, r, strict=True)) for r in rows]

    torch.manual_seed(11)
    expected = loss(*(torch.cat([two(part) for part in parts(x)]) for x in inputs), *side)
    expected.backward()
    torch.manual_seed(11)
    batch = inputs[0] if kind == "one mapping" else inputs
    value = nearfar.torch.cached_step(one, batch, loss, *side, chunk=8)
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-6)
    _agree(one, two)


def _values(x):
    return x.values() if isinstance(x, dict) else x


def test_embeddings_whose_gradient_comes_later():
    """A trainer scales the loss, adds another and goes back outside of autocast."""
    one = nn.ModuleList([_encoder(6), _encoder(4), nearfar.torch.Loss(nf.CLIP(), True)])
    two = copy.deepcopy(one)
    x, y = _data(6, 4, n=203)
    torch.manual_seed(11)
    z = [torch.cat([f(rows) for rows in v.split(CHUNK)]) for f, v in zip(two, (x, y), strict=False)]
    expected = 0.5 * two[2](*z) + z[0].square().mean()
    expected.backward()
    torch.manual_seed(11)
    a, b = nearfar.torch.cached_embeddings(tuple(one[:2]), (x, y), chunk=CHUNK)
    value = 0.5 * one[2](a, b) + a.square().mean()
    assert all(p.grad is None for p in one.parameters())
    value.backward()
    np.testing.assert_allclose(value.detach(), expected.detach(), rtol=1e-6)
    _agree(one, two)
    with torch.no_grad():
        assert not nearfar.torch.cached_embeddings(one[0], x, chunk=CHUNK).requires_grad


def test_refusals():
    rows = {"ids": torch.zeros(3, 2), "mask": torch.zeros(4, 2)}
    with pytest.raises(ValueError, match=r"as many rows; received \[3, 4\] rows"):
        nearfar.torch.cached_step(_encoder(), rows, nf.NTXent(), chunk=2)
    (x,) = _data(6, n=10)
    step = nearfar.torch.cached_step
    with pytest.raises(ValueError, match="chunk to be a whole number above 0; received 0"):
        step(_encoder(), x, nf.NTXent(), chunk=0)
    with pytest.raises(TypeError, match=r"batch to be a tensor or a mapping.*received list"):
        step(_encoder(), [1, 2], nf.NTXent(), chunk=3)
    with pytest.raises(ValueError, match="received 2 encoders and 1 inputs"):
        step((_encoder(), _encoder()), x, nf.NTXent(), chunk=3)
    with pytest.raises(ValueError, match=r"one row for each of the 3.*received \(8,\)"):
        step(lambda x: x.new_zeros(8), x, nf.NTXent(), chunk=3)
