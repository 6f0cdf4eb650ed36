"""A call of a shape that came before is checked no less, and computes nothing else."""

import gc
import weakref
from threading import Thread

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.losses.called import _MOST_PLANS

RNG = np.random.default_rng(8)
X, Y = RNG.normal(size=(2, 9, 4))
LABELS = np.array([2, 0, 2, 1, 0, 2, 1, 0, 3])
LOSSES = {
    "ntxent": (nf.NTXent, (X, Y)),
    "clip": (nf.CLIP, (X, Y)),
    "infonce": (nf.InfoNCE, (X, Y)),
    "supcon": (nf.SupCon, (X, LABELS)),
}
CASES = [pytest.param(*case, id=name) for name, case in LOSSES.items()]


def _tensors(inputs):
    return [torch.tensor(x, requires_grad=x.dtype == float) for x in inputs]


def _gradients(loss, inputs, **named):
    given = _tensors(inputs)
    value = 1.7 * loss(*given, **named)
    value.backward()
    return [float(value.detach()), *(x.grad for x in given if x.requires_grad)]


@pytest.mark.parametrize(("cls", "inputs"), CASES)
def test_values_are_looked_at_again(cls, inputs):
    loss = cls(temperature=0.5)
    first = loss.value_and_grad(*inputs)
    again = loss.value_and_grad(*inputs)
    assert first[0] == again[0]
    assert all(map(np.array_equal, first[1], again[1]))
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="first in row 3"):
        loss.value_and_grad(bad, *inputs[1:])
    with pytest.raises(ValueError, match="first in row 3"):
        loss(bad, *inputs[1:])
    careful = loss.with_options(check_finite=True)
    careful(*_tensors(inputs))
    with pytest.raises(ValueError, match="first in row 3"):
        careful(*_tensors((bad, *inputs[1:])))


@pytest.mark.parametrize(("cls", "inputs"), CASES)
def test_other_shapes_and_kinds_are_refused(cls, inputs):
    loss = cls(temperature=0.5)
    for make in (list, _tensors):
        loss(*make(inputs))
        with pytest.raises(ValueError, match="expected"):
            loss(*make((X[:5], inputs[1])))
        with pytest.raises(TypeError, match="is called with"):
            loss(make(inputs)[0])
    if len(loss.embeddings) > 1 and cls is not nf.SupCon:
        with pytest.raises(TypeError, match="framework"):
            loss(torch.tensor(X), Y)


def test_labels_that_are_missing_are_refused():
    loss = nf.SupCon(temperature=0.5)
    loss(X, LABELS.astype(float))
    missing = LABELS.astype(float)
    missing[2] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        loss(X, missing)


def test_a_learned_temperature_is_looked_at():
    loss = nf.CLIP()
    for _ in range(2):
        t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        found = _gradients(loss, (X, Y), temperature=t)
        stated = _gradients(nf.CLIP(temperature=0.3).with_options(tile=4), (X, Y))
        assert found[0] == pytest.approx(stated[0], rel=1e-12)
        torch.testing.assert_close(found[1:], stated[1:], rtol=1e-9, atol=1e-13)
        assert t.grad.dtype == torch.float64
    with pytest.raises(ValueError, match="temperature"):
        loss(torch.tensor(X), torch.tensor(Y), temperature=torch.tensor(-0.3))


@pytest.mark.parametrize(("cls", "inputs"), CASES)
def test_gradients_of_gradients_and_in_batches(cls, inputs):
    loss = cls(temperature=0.5)
    for one in (loss, loss):  # the second call is one of a known shape
        given = _tensors(inputs)
        leaves = [x for x in given if x.requires_grad]
        value = one(*given)
        grads = torch.autograd.grad(value, leaves, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in grads), leaves)
        given = _tensors(inputs)
        tiled = torch.autograd.grad(
            loss.with_options(tile=4)(*given), given[: len(leaves)], create_graph=True
        )
        expected = torch.autograd.grad(sum((g**2).sum() for g in tiled), given[: len(leaves)])
        torch.testing.assert_close(second, expected, rtol=1e-8, atol=1e-12)
    value = loss(*(given := _tensors(inputs)))
    upstream = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (several,) = torch.autograd.grad(
        value, given[0], upstream, is_grads_batched=True, retain_graph=True
    )
    (alone,) = torch.autograd.grad(value, given[0])
    torch.testing.assert_close(several, upstream[:, None, None] * alone)


@pytest.mark.parametrize(("cls", "inputs"), CASES)
def test_in_transforms_and_without_recording(cls, inputs):
    loss = cls(temperature=0.5)
    expected = _gradients(loss, inputs)
    x, rest = torch.tensor(X), [torch.tensor(x) for x in inputs[1:]]
    found = torch.func.grad(lambda x: 1.7 * loss(x, *rest))(x)
    torch.testing.assert_close(found, expected[1])
    many = torch.func.vmap(lambda x: loss(x, *rest))(torch.stack([x, 2 * x]))
    assert 1.7 * float(many[0]) == pytest.approx(expected[0], rel=1e-12)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            value = loss(*_tensors(inputs))
        assert not value.requires_grad
        assert 1.7 * float(value) == pytest.approx(expected[0], rel=1e-12)
    assert _gradients(loss, inputs)[0] == expected[0]


def test_what_is_kept_is_bounded_and_holds_no_batch():
    loss = nf.NTXent(temperature=0.5)
    for n in range(3, 3 + 2 * _MOST_PLANS):
        loss(*RNG.normal(size=(2, n, 4)))
    assert len(loss._plans) <= _MOST_PLANS
    x = RNG.normal(size=(9, 4))
    gone = weakref.ref(x)
    loss.value_and_grad(x, x + 1)
    del x
    gc.collect()
    assert gone() is None


def test_threads_share_a_loss():
    loss, found = nf.NTXent(temperature=0.5), []
    expected = [loss.with_options(tile=4).value_and_grad(X[:n], Y[:n])[0] for n in range(3, 9)]

    def work():
        found.append([loss.value_and_grad(X[:n], Y[:n])[0] for n in range(3, 9)])

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, [expected] * 4, rtol=1e-12)


@pytest.mark.parametrize("scale", [0.1, 0.3, 1, 2, 3, 5])
@pytest.mark.parametrize(("cls", "inputs"), CASES)
def test_one_call_in_many_spellings_to_the_last_bit(framework, cls, inputs, scale):
    """By name, with None for what is not given, of bytes in another order, as lists."""
    loss = cls(similarity="dot")
    inputs = [scale * x if x.dtype.kind == "f" else x for x in inputs]
    arrays = [framework.asarray(x) if x.dtype.kind == "f" else x for x in inputs]
    names = [name for name in loss.inputs if name not in loss.optional]
    want = framework.read(loss(*arrays))
    spellings = [
        loss(**dict(zip(names, arrays, strict=True))),
        loss(arrays[0], **dict(zip(names[1:], arrays[1:], strict=True))),
        loss(*arrays, temperature=None),
        *(loss(*arrays, **{name: None}) for name in loss.optional),
    ]
    if framework.name == "numpy":
        spellings.append(loss(*(x.astype(x.dtype.newbyteorder()) for x in inputs)))
        spellings.append(loss(arrays[0], *(x.tolist() for x in inputs[1:])))
    for value in spellings:
        assert framework.read(value) == want
