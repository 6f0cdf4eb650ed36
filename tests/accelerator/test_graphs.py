"""Inside a CUDA graph nothing may wait for the device: captured on a GPU, or said to be."""

import numpy as np
import pytest
import torch
from support.cases import CASES
from support.launches import Launches

import nearfar as nf
from nearfar.frameworks.torch import hopeful
from nearfar.frameworks.torch.pure import Pure

LOSSES = {
    "ntxent": nf.NTXent(),
    "supcon-euclidean": nf.SupCon(similarity="neg_sqeuclidean", temperature=4.0),
    "supcr": nf.SupCR(),
    "supcr-far": nf.SupCR(temperature=0.01),
    "hard": nf.BatchTriplet(margin=3.0),
    "all": nf.BatchTriplet(margin=3.0, mining="all"),
    "mined": nf.MultiSimilarity(mining=0.1),
    "circle": nf.Circle(),
    "lifted": nf.Lifted(),
}


@pytest.fixture
def said_to_capture(monkeypatch):
    monkeypatch.setattr(hopeful, "_capturing", lambda device: True)


def _batch(loss, device):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(24, 12))
    x[12:18] = x[:6] + 1e-6 * rng.normal(size=(6, 12))  # rows too near for products
    x = torch.tensor(x, dtype=torch.float32, device=device)
    labels = torch.tensor(np.arange(24) % 12 // 2, device=device)
    if loss.inputs[1] == "targets":
        return x, labels.to(torch.float32)
    return (x, x.flip(0).cos()) if loss.inputs[1] == "b" else (x, labels)


def _run(loss, given, device, monkeypatch):
    if device.type == "cpu":
        monkeypatch.setattr(hopeful, "_capturing", lambda device: True)
        monkeypatch.setattr(Pure, "accelerated", lambda self, x: True)
        found = loss.value_and_grad(*given)
        monkeypatch.undo()
        return found
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        loss.value_and_grad(*given)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = loss.value_and_grad(*given)
    graph.replay()
    torch.cuda.synchronize()
    return found


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_captured_call_is_right_for_every_input(loss, device, monkeypatch):
    loss = loss.with_options(kernel="tiles")
    given = _batch(loss, device)
    value, (slope, *_) = loss.value_and_grad(*[np.asarray(x.double().cpu()) for x in given])
    found, (got, *_) = _run(loss, given, device, monkeypatch)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    off = np.abs(np.asarray(got.cpu().double()) - slope).max()
    assert off <= 2e-5 * np.abs(slope).max()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_loss_waits_while_it_is_captured(case, said_to_capture):
    arrays = [torch.as_tensor(x) for x in (*case.embeddings, *case.labels)]
    given = [(x.float() if x.is_floating_point() else x).to("meta") for x in arrays]
    with Launches() as count:
        case.loss.value_and_grad(*given)
    assert not count.waits
