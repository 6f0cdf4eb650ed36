"""Gradients in which weights are constants, beside plain formulas that PyTorch differentiates."""

import numpy as np
import pytest
import torch

import nearfar as nf

RNG = np.random.default_rng(5)
A, B = RNG.normal(size=(9, 5)), RNG.normal(size=(9, 5))
LABELS = np.array([0, 1, 0, 2, 2, 1, 0, 3, 2])


def cosines(x, y):
    return torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(y, dim=1).T


def ntxent(a, b):
    s = cosines(torch.cat([a, b]), torch.cat([a, b]))
    n = len(a)
    own = torch.arange(2 * n).roll(n)
    negative = torch.ones(2 * n, 2 * n, dtype=bool).fill_diagonal_(False)
    negative[torch.arange(2 * n), own] = False
    z = s / 0.3 + 2.0 * s.detach() * negative
    z = z.fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(z, own)


def infonce(a, b):
    s = cosines(a, b)
    z = s / 0.3 + 2.0 * s.detach() * (1 - torch.eye(len(a)))
    return torch.nn.functional.cross_entropy(z, torch.arange(len(a)))


def circle(a, _):
    s, labels = cosines(a, a), torch.tensor(LABELS)
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(a), dtype=bool)
    push = 20 * torch.relu(s + 0.25).detach() * (s - 0.25)
    pull = -20 * torch.relu(1.25 - s).detach() * (s - 0.75)
    push = push.masked_fill(same, -torch.inf).logsumexp(1)
    pull = pull.masked_fill(~same | itself, -torch.inf)
    some = (same & ~itself).any(1)
    return torch.nn.functional.softplus(push[some] + pull[some].logsumexp(1)).mean()


CASES = {
    "ntxent": (nf.NTXent(temperature=0.3, hardness=2.0), ntxent, (A, B)),
    "infonce": (nf.InfoNCE(temperature=0.3, hardness=2.0), infonce, (A, B)),
    "circle": (nf.Circle(margin=0.25, gamma=20.0), circle, (A, LABELS)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient(name, framework):
    loss, formula, inputs = CASES[name]
    leaves = [torch.tensor(x, requires_grad=True) for x in (A, B)]
    want = formula(*leaves)
    slopes = torch.autograd.grad(3.0 * want, leaves, allow_unused=True)
    x = [framework.asarray(z) for z in inputs if z is not LABELS]
    rest = [framework.labels(z) for z in inputs if z is LABELS]
    for options in ({}, {"tile": 4}):
        value, found = framework.read_derivatives(
            loss.with_options(**options), x, *rest, upstream=3.0
        )
        assert abs(value - want.item()) < 1e-12
        for one, other in zip(found, slopes, strict=False):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("loss", [nf.NTXent(hardness=1.0), nf.InfoNCE(hardness=1.0)], ids=repr)
def test_hardness_holds_its_temperature(loss, framework):
    x = [framework.asarray(z) for z in (A, B)]
    for temperature in (0.1, framework.asarray(0.1)):
        with pytest.raises(ValueError, match=r"no temperature at the call with hardness.*replace"):
            loss(*x, temperature=temperature)


def test_hardness_does_not_weigh_an_anchor_itself():
    with pytest.raises(ValueError, match="include_self=False with hardness"):
        nf.NTXent(hardness=1.0, include_self=True)
