"""nearfar.torch.update_momentum: the formula, what is refused, and that nothing else changes."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from nearfar.torch import update_momentum


def encoder(seed=0, dtype=torch.float32):
    """Parameters, float buffers (running statistics) and an integer buffer (a counter)."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    norm = module[1]
    for x in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(x)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    norm.num_batches_tracked.fill_(10 * seed + 3)
    return module.to(dtype)


def pair(dtype=torch.float32):
    return encoder(0, dtype), encoder(1, dtype)


def tensors(module):
    return dict(module.named_parameters()) | dict(module.named_buffers())


def copies(module):
    return {name: x.detach().clone() for name, x in tensors(module).items()}


def assert_same(module, before):
    """Bit for bit, so that NaN equals NaN."""
    now = tensors(module)
    assert now.keys() == before.keys()
    for name, x in before.items():
        assert now[name].dtype == x.dtype, name
        np.testing.assert_array_equal(
            now[name].detach().double().numpy(), x.double().numpy(), err_msg=name
        )


class TestFormula:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("momentum", [0.0, 0.1, 0.5, 0.9, 0.996, 1.0])
    def test_parameters_and_floating_buffers(self, momentum, dtype):
        target, online = pair(dtype)
        before, wanted = copies(target), copies(online)
        assert update_momentum(target, online, momentum) is None
        seen = set()
        for name, x in tensors(target).items():
            assert x.dtype == before[name].dtype
            if x.is_floating_point():
                a, b = before[name].double().numpy(), wanted[name].double().numpy()
                atol = 4 * torch.finfo(dtype).eps
                want = momentum * a + (1 - momentum) * b
                np.testing.assert_allclose(x.detach().double().numpy(), want, rtol=0, atol=atol)
                seen.add(name)
        assert {"0.weight", "0.bias", "1.running_mean", "1.running_var", "2.weight"} <= seen
        assert_same(online, wanted)

    def test_counters_are_copied_and_not_averaged(self):
        target, online = pair()
        update_momentum(target, online, 0.9)
        assert target[1].num_batches_tracked.item() == 13
        assert target[1].num_batches_tracked.dtype == torch.int64

    def test_masks_are_copied(self):
        target, online = pair()
        target.register_buffer("mask", torch.tensor([True, False, True]))
        online.register_buffer("mask", torch.tensor([False, False, True]))
        update_momentum(target, online, 0.9)
        assert target.mask.tolist() == [False, False, True]

    def test_counters_above_float_precision_keep_their_digits(self):
        target, online = pair()
        online[1].num_batches_tracked.fill_(2**53 + 1)
        update_momentum(target, online, 0.5)
        assert target[1].num_batches_tracked.item() == 2**53 + 1

    def test_zero_is_a_copy(self):
        target, online = pair()
        update_momentum(target, online, 0)
        assert_same(target, copies(online))

    def test_one_changes_no_float_and_still_copies_counters(self):
        target, online = pair()
        before = copies(target)
        update_momentum(target, online, 1)
        assert_same(target, before | {"1.num_batches_tracked": torch.tensor(13)})

    @pytest.mark.parametrize("momentum", [np.float32(0.5), np.float64(0.5), 0.5])
    def test_numbers_of_any_kind(self, momentum):
        target, online = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.constant_(target.weight, 1.0)
        nn.init.constant_(online.weight, 4.0)
        update_momentum(target, online, momentum)
        assert target.weight.item() == 2.5

    def test_shared_weights_are_moved_once(self):
        def tied(value):
            module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
            module[1].weight = module[0].weight
            nn.init.constant_(module[0].weight, value)
            return module

        target, online = tied(1.0), tied(3.0)
        update_momentum(target, online, 0.5)
        assert target[1].weight is target[0].weight
        assert torch.equal(target[0].weight, torch.full((2, 2), 2.0))

    def test_buffers_that_are_not_saved_move_too(self):
        target, online = nn.Module(), nn.Module()
        target.register_buffer("mean", torch.zeros(2), persistent=False)
        online.register_buffer("mean", torch.ones(2), persistent=False)
        update_momentum(target, online, 0.75)
        assert target.mean.tolist() == [0.25, 0.25]

    def test_complex_parameters(self):
        target, online = nn.Module(), nn.Module()
        target.w = nn.Parameter(torch.tensor([1 + 1j]))
        online.w = nn.Parameter(torch.tensor([3 - 1j]))
        update_momentum(target, online, 0.5)
        assert target.w.item() == 2 + 0j

    def test_a_hundred_steps_converge(self):
        target, online = pair(torch.float64)
        before, wanted = copies(target), copies(online)
        distances = []
        for _ in range(100):
            update_momentum(target, online, 0.8)
            distances.append((target[0].weight - online[0].weight).norm().item())
        first = (before["0.weight"] - wanted["0.weight"]).norm().item()
        np.testing.assert_allclose(distances[:50], first * 0.8 ** np.arange(1, 51), rtol=1e-6)
        for name, x in tensors(target).items():
            # 0.8 ** 100 is 2e-10.
            np.testing.assert_allclose(x.detach().numpy(), wanted[name].numpy(), atol=2e-9)


class TestAutograd:
    def test_no_history(self):
        target, online = pair()
        assert all(p.requires_grad for p in target.parameters())
        update_momentum(target, online, 0.5)
        for module in (target, online):
            for x in tensors(module).values():
                assert x.grad_fn is None
                assert x.is_leaf
                assert x.grad is None
        assert all(p.requires_grad for p in target.parameters())
        assert torch.is_grad_enabled()

    def test_in_place_and_apart_from_the_online_module(self):
        target, online = pair()
        kept = tensors(target)
        update_momentum(target, online, 0)
        assert all(tensors(target)[name] is x for name, x in kept.items())
        shared = {x.data_ptr() for x in kept.values()} & {
            x.data_ptr() for x in tensors(online).values()
        }
        assert not shared

    def test_frozen_targets_and_gradients_of_the_online_module(self):
        target, online = pair()
        target.requires_grad_(False)
        online(torch.ones(3, 3)).sum().backward()
        grads = {name: p.grad.clone() for name, p in online.named_parameters()}
        update_momentum(target, online, 0.5)
        assert not any(p.requires_grad for p in target.parameters())
        assert all(torch.equal(p.grad, grads[name]) for name, p in online.named_parameters())

    def test_between_the_forward_and_the_backward_of_the_online_module(self):
        target, online = pair()
        wanted = copy.deepcopy(online)
        x = torch.randn(3, 3)
        value = online(x).square().sum()
        update_momentum(target, online, 0.5)
        value.backward()
        wanted(x).square().sum().backward()
        assert torch.equal(online[0].weight.grad, wanted[0].weight.grad)


class TestDtypes:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision(self, dtype):
        target, online = pair(dtype)
        before = copies(target)
        update_momentum(target, online, 0.75)
        eps = torch.finfo(dtype).eps
        for name, x in tensors(target).items():
            assert x.dtype == before[name].dtype
            if x.is_floating_point():
                a, b = before[name].double(), tensors(online)[name].detach().double()
                want = (0.75 * a + 0.25 * b).numpy()
                scale = max(1.0, a.abs().max().item(), b.abs().max().item())
                np.testing.assert_allclose(
                    x.detach().double().numpy(), want, rtol=0, atol=scale * eps
                )

    @pytest.mark.parametrize(
        ("of_target", "of_online"),
        [
            (torch.float32, torch.bfloat16),
            (torch.float32, torch.float16),
            (torch.float64, torch.float32),
            (torch.bfloat16, torch.float32),
            (torch.float16, torch.float64),
        ],
    )
    def test_the_target_keeps_its_dtype(self, of_target, of_online):
        target, online = encoder(0, of_target), encoder(1, of_online)
        before, wanted = copies(target), copies(online)
        update_momentum(target, online, 0.25)
        eps = torch.finfo(of_target).eps
        for name, x in tensors(target).items():
            assert x.dtype == before[name].dtype
            if x.is_floating_point():
                a, b = before[name].double(), wanted[name].double()
                scale = max(1.0, a.abs().max().item(), b.abs().max().item())
                np.testing.assert_allclose(
                    x.detach().double().numpy(),
                    (0.25 * a + 0.75 * b).numpy(),
                    rtol=0,
                    atol=2 * scale * eps,
                )
        assert_same(online, wanted)

    def test_dtypes_mixed_within_a_module(self):
        target, online = pair()
        for module in (target, online):
            module[0].half()
            module[2].double()
        want = 0.5 * target[2].weight.detach() + 0.5 * online[2].weight.detach()
        update_momentum(target, online, 0.5)
        assert [target[k].weight.dtype for k in range(3)] == [
            torch.float16,
            torch.float32,
            torch.float64,
        ]
        torch.testing.assert_close(target[2].weight.detach(), want, rtol=0, atol=1e-15)


class TestRefused:
    @pytest.mark.parametrize("momentum", [-1e-9, 1.0000001, 2, math.nan, math.inf, -math.inf])
    def test_out_of_range(self, momentum):
        target, online = pair()
        before = copies(target)
        with pytest.raises(ValueError, match=r"expected momentum to be a number from 0 to 1"):
            update_momentum(target, online, momentum)
        assert_same(target, before)

    @pytest.mark.parametrize("momentum", [True, False, "0.9", None, [0.9], torch.tensor(0.9)])
    def test_no_number(self, momentum):
        target, online = pair()
        before = copies(target)
        with pytest.raises(TypeError, match=r"expected momentum to be a number from 0 to 1"):
            update_momentum(target, online, momentum)
        assert_same(target, before)

    def without_a_norm(online):
        return nn.Sequential(online[0], nn.Identity(), online[2])

    def with_a_bias(online):
        online[2] = nn.Linear(4, 2)
        return online

    def other_names(online):
        return nn.ModuleDict({"net": online})

    def wider(online):
        # Only the last of the tensors differs: nothing before it may have moved.
        online[2] = nn.Linear(4, 7, bias=False)
        return online

    def broadcastable(online):
        online[2] = nn.Linear(4, 1, bias=False)
        return online

    def with_a_buffer(online):
        online.register_buffer("extra", torch.zeros(2))
        return online

    def other_buffer_shape(online):
        online[1].running_var = torch.ones(1)
        return online

    @pytest.mark.parametrize("turned", [False, True], ids=["online", "target"])
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (without_a_norm, r"1\.bias"),
            (with_a_bias, r"2\.bias"),
            (other_names, r"0\.bias"),
            (wider, r"2\.weight"),
            (broadcastable, r"2\.weight"),
            (with_a_buffer, "extra"),
            (other_buffer_shape, r"1\.running_var"),
        ],
    )
    def test_another_structure(self, change, named, turned):
        target, online = pair()
        online = change(online)
        if turned:
            target, online = online, target
        before, others = copies(target), copies(online)
        with pytest.raises(ValueError, match=f"target and online .*different are .*{named}"):
            update_momentum(target, online, 0.5)
        assert_same(target, before)
        assert_same(online, others)
