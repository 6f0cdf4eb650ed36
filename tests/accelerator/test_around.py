"""What stands around a loss, of arrays on an accelerator: explained, kept, drawn and measured."""

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.frameworks.torch.pure import Pure
from nearfar.queue import EmbeddingQueue
from nearfar.samplers import ClassBalancedSampler
from nearfar.torch.trainer.encoders import Architecture
from nearfar.torch.trainer.training import Recipe, Rows, Training

X = torch.linspace(-1, 2, 96).reshape(16, 6).mul(7).sin()
Y = X.flip(0).cos()
LABELS = torch.arange(16) % 5
CALLS = {
    "ntxent": (nf.NTXent(), (X, Y)),
    "ids": (nf.CLIP(), (X, Y, LABELS)),
    "queue": (nf.InfoNCE(), (X, Y, None, X[:5].exp())),
    "supcon": (nf.SupCon(), (X, LABELS)),
    "exclude": (nf.SupCon(exclude=nf.Exclude(by="self", margin=0.1)), (X, LABELS)),
    "supcr": (nf.SupCR(), (X, LABELS.float())),
    "triplets": (nf.BatchTriplet(), (X, LABELS)),
}


@pytest.fixture
def there(device, monkeypatch):
    """Puts arrays on the device, or says of the CPU's that they are on one."""
    if device.type == "cpu":
        monkeypatch.setattr(Pure, "accelerated", lambda self, x: True)
    return lambda x: x if x is None else x.detach().to(device)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_explain(name, dtype, there, monkeypatch):
    loss, given = CALLS[name]
    given = [x.to(dtype) if x is not None and x.is_floating_point() else x for x in given]
    with monkeypatch.context() as here:
        here.setattr(Pure, "accelerated", lambda self, x: not x.is_cpu)
        want = loss.explain(*given).scalars()
    got = loss.explain(*[x if x is None else there(x).requires_grad_(x.is_floating_point())
                         for x in given]).scalars()  # fmt: skip
    assert got.keys() == want.keys()
    for key, number in want.items():
        assert got[key] == pytest.approx(number, rel=1e-4, abs=1e-6), key


def test_a_queue_stays_on_the_device(there):
    queue = EmbeddingQueue(5, 6, like=there(X))
    for rows in (X[:4], X[4:8]):
        queue.push(there(rows).requires_grad_())
    kept = queue.embeddings
    assert kept.device == there(X).device
    assert not kept.requires_grad
    value = nf.InfoNCE()(there(X), there(Y), queue=kept)
    exact = nf.InfoNCE()(X.double(), Y.double(), queue=kept.double().cpu())
    assert float(value) == pytest.approx(float(exact), rel=1e-5)


def test_a_sampler_reads_labels_of_the_device(there):
    def drawn(labels):
        sampler = ClassBalancedSampler(labels, classes=2, per_class=3, seed=1)
        return [list(batch) for batch in sampler]

    assert drawn(there(LABELS)) == drawn(LABELS.tolist())


def test_a_measure_of_half_precision(there):
    found = nf.metrics.knn_accuracy(there(X.bfloat16()).requires_grad_(), there(LABELS))
    assert isinstance(found, float)
    assert found == nf.metrics.knn_accuracy(X.bfloat16().float().numpy(), LABELS.numpy())


def test_an_encoder_learns_as_on_a_processor(there, device, monkeypatch):
    """What `nearfar fit --encoder mlp --device cuda` runs."""
    y = np.arange(40) % 4
    rows = Rows(np.random.default_rng(0).normal(size=(40, 6)) + 2 * np.eye(4, 6)[y], y)
    recipe = Recipe(
        epochs=2, batch_size=16, lr=1e-2, weight_decay=1e-4, patience=3, augmentation=1.0,
        flip=False, learn_temperature=True, seed=0,
    )  # fmt: skip

    def learned(where):
        told = []
        training = Training(Architecture("mlp", (6,), 4), nf.SupCon(), recipe, rows, None, where)
        training.run(told.append)
        return [epoch.loss for epoch in told]

    found = learned(str(device))
    monkeypatch.undo()
    assert len(found) == 2
    np.testing.assert_allclose(found, learned("cpu"), rtol=1e-4)
