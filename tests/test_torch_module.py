"""The loss as a module of PyTorch, with and without learned parameters."""

import math

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.torch import Loss

RNG = np.random.default_rng(71)
X, Y = (torch.tensor(RNG.normal(size=(6, 4))) for _ in range(2))


def test_a_fixed_loss_is_the_loss():
    module = Loss(nf.CLIP(temperature=0.2))
    assert list(module.parameters()) == []
    assert module.temperature == 0.2
    x = X.clone().requires_grad_()
    value = module(x, Y)
    want, (gradient, _) = nf.CLIP(temperature=0.2).value_and_grad(X, Y)
    assert value.item() == want.item()
    torch.testing.assert_close(torch.autograd.grad(value, x)[0], gradient)
    assert module(x=x, y=Y).item() == want.item()


def test_a_learned_temperature_gets_the_gradient_of_its_logarithm():
    module = Loss(nf.CLIP(temperature=0.2), learn_temperature=True).double()
    assert [name for name, _ in module.named_parameters()] == ["log_temperature"]
    module(X, Y).backward()
    _, (*_, slope) = nf.CLIP().value_and_grad(X, Y, temperature=torch.tensor(0.2).double())
    assert module.log_temperature.grad.item() == pytest.approx(0.2 * slope.item(), rel=1e-6)
    assert module.temperature.item() == pytest.approx(0.2)


def test_siglip_learns_its_bias_too():
    module = Loss(nf.SigLIP(bias=-3.0), learn_temperature=True)
    assert sorted(dict(module.named_parameters())) == ["bias", "log_temperature"]
    module(X.float(), Y.float()).backward()
    assert module.bias.grad.item() != 0
    assert module.bias.dtype == torch.float32


def test_the_optimum_is_that_of_a_scalar_minimiser():
    from scipy.optimize import minimize_scalar

    views = X, X + 0.7 * Y
    best = minimize_scalar(
        lambda t: nf.CLIP(temperature=t)(*views).item(), bounds=(0.02, 5.0), method="bounded"
    )
    module = Loss(nf.CLIP(temperature=1.0), learn_temperature=True).double()
    search = torch.optim.LBFGS(module.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        search.zero_grad()
        value = module(*views)
        value.backward()
        return value

    search.step(closure)
    assert 0.02 < best.x < 5.0
    assert module.temperature.item() == pytest.approx(best.x, rel=1e-4)


def test_the_temperature_is_held_above_the_least():
    module = Loss(nf.CLIP(temperature=0.02), learn_temperature=True)
    with torch.no_grad():
        module.log_temperature.fill_(math.log(1e-4))
    module.eval()(X, Y)
    assert module.temperature.item() == pytest.approx(1e-4)
    module.train()(X, Y)
    assert module.temperature.item() == pytest.approx(0.01)


def test_state_is_saved_and_loaded():
    module = Loss(nf.SigLIP(temperature=0.3), learn_temperature=True)
    other = Loss(nf.SigLIP(), learn_temperature=True)
    other.load_state_dict(module.state_dict())
    assert other.temperature.item() == pytest.approx(0.3)
    assert "SigLIP(" in repr(other)
    assert "learning temperature and bias" in repr(other)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.nn.MSELoss(),), TypeError, "nearfar loss; received MSELoss"),
        ((nf.Triplet(), True), ValueError, "temperature to learn; received Triplet"),
        ((nf.CLIP(temperature=0.001), True), ValueError, "0.01 or above; received 0.001"),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Loss(*arguments)


# TorchScript is deprecated, and models are still made of it.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_model_that_holds_one_is_scripted():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Linear(3, 2)
            self.loss = Loss(nf.SigLIP(), learn_temperature=True)

        def forward(self, x):
            return self.encoder(x)

    model, x = Model(), torch.rand(4, 3)
    script = torch.jit.script(model)
    assert torch.equal(script(x), model(x))
    assert set(script.state_dict()) == set(model.state_dict())


@pytest.mark.parametrize(
    ("loss", "shape"), [(nf.ProxyAnchor(), (5, 4)), (nf.SoftTriple(), (5, 2, 4))], ids=repr
)
def test_proxies_are_a_parameter(loss, shape):
    module = Loss(loss, proxies=shape).double()
    assert [name for name, _ in module.named_parameters()] == ["proxies"]
    labels = torch.tensor([0, 1, 1, 4, 2, 0])
    x = X.clone().requires_grad_()
    value = module(x, labels)
    want, (by_x, by_proxies) = loss.value_and_grad(X, labels, module.proxies.detach())
    (3 * value).backward()
    assert value.item() == pytest.approx(want.item(), rel=1e-14)
    torch.testing.assert_close(x.grad, 3 * by_x)
    torch.testing.assert_close(module.proxies.grad, 3 * by_proxies)
    again = Loss(loss, proxies=shape).double()
    again.load_state_dict(module.state_dict())
    assert again(X, labels).item() == value.item()
    assert f"proxies={shape}" in repr(module)


def test_proxies_and_a_temperature_are_learned_together():
    module = Loss(nf.CosFace(temperature=0.2), learn_temperature=True, proxies=(5, 4)).double()
    assert sorted(dict(module.named_parameters())) == ["log_temperature", "proxies"]
    module(X, torch.tensor([0, 1, 1, 4, 2, 0])).backward()
    assert all(p.grad.abs().max() > 0 for p in module.parameters())


@pytest.mark.parametrize(
    ("loss", "shape", "message"),
    [
        (nf.SupCon(), (5, 4), "loss that takes proxies.*SupCon"),
        (nf.ProxyAnchor(), (5, 2, 4), r"shape \(C, d\)"),
        (nf.SoftTriple(), (5, 4), r"shape \(C, K, d\)"),
        (nf.ProxyAnchor(), 5, r"shape \(C, d\)"),
    ],
)
def test_proxies_refused(loss, shape, message):
    with pytest.raises(ValueError, match=message):
        Loss(loss, proxies=shape)
