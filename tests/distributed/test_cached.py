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


def _peak(step):
    """Bytes that the allocator held at most during a step, beyond those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


def test_peak_memory_is_that_of_a_chunk_and_the_embeddings():
    width = 1024  # so that a chunk's graph outweighs the loss's own arrays
    encoder = nn.Sequential(
        nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8)
    )
    (x,) = _data(6)
    labels = torch.arange(ROWS) % 7
    loss = nf.SupCon().with_options(memory=2**18)
    encoder(x[:2]).sum().backward()
    one = _peak(lambda: encoder(x[:CHUNK]).sum().backward())
    whole = _peak(lambda: _whole([encoder], [x], loss, labels))
    ours = _peak(lambda: nearfar.torch.cached_step(encoder, x, loss, labels, chunk=CHUNK))
    assert ours <= 1.3 * one + ROWS * 8 * 4
    assert whole > 1.5 * ours


def test_refusals():
    (x,) = _data(6, n=10)
    step = nearfar.torch.cached_step
    with pytest.raises(ValueError, match="chunk to be a whole number above 0; received 0"):
        step(_encoder(), x, nf.NTXent(), chunk=0)
    with pytest.raises(TypeError, match=r"batch to be a tensor or several.*received list"):
        step(_encoder(), [1, 2], nf.NTXent(), chunk=3)
    with pytest.raises(ValueError, match="received 2 encoders and 1 tensors"):
        step((_encoder(), _encoder()), x, nf.NTXent(), chunk=3)
    with pytest.raises(ValueError, match=r"one row for each of the 3.*received \(8,\)"):
        step(lambda x: x.new_zeros(8), x, nf.NTXent(), chunk=3)
