"""Where a fused kernel takes over: a dense one in PyTorch stands in for it."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from oracles import dense

import nearfar as nf
from nearfar.frameworks import Block, KernelSums
from nearfar.frameworks.torch import NAMESPACE
from nearfar.frameworks.torch.namespace import Torch

ROWS, FEATURES = 22, 5
EMPTY = -float("inf")


def logits_of(problem, embeddings, temperature):
    """Logits of each side's anchors, whose positives they are, and themselves."""
    if problem.pairing == "views":
        rows = torch.stack(embeddings, 1).reshape(-1, embeddings[0].shape[1])
    else:
        rows = embeddings[0]
    columns = embeddings[1] if problem.pairing == "matched" else rows
    return dense.similarities(rows, columns, problem.similarity) / temperature


def members(problem, labels, n):
    eye = torch.eye(n, dtype=torch.bool)
    if problem.pairing == "matched":
        return eye, ~eye
    if problem.pairing == "views":
        pair = torch.arange(n) // 2
        same = pair[:, None] == pair[None, :]
    elif problem.pairing == "labels":
        same = labels[:, None] == labels[None, :]
    else:
        same = (labels.double() @ labels.double().T) > 0
    return (
        (same & ~eye) | (eye if problem.include_self == "positive" else ~eye & eye),
        (~same & ~eye) | (eye if problem.include_self is True else ~eye & eye),
    )


@dataclass
class DensePasses:
    problem: object
    embeddings: tuple
    labels: object
    temperature: object

    def __post_init__(self):
        self.dtype = torch.promote_types(self.embeddings[0].dtype, torch.float32)

    def own(self, x):
        own = self.problem.own
        if own is None:
            return x
        times = 2 if self.problem.pairing == "views" else 1
        return x[own.start * times : (own.start + own.size) * times]

    def sides(self, embeddings, temperature):
        z = logits_of(self.problem, embeddings, temperature)
        return [z, z.T] if self.problem.pairing == "matched" else [z]

    def pieces(self, z, first_log=None):
        """log of each sum, the linear sum, the log of the pairs' sum, or their sum."""
        positives, negatives = members(self.problem, self.labels, len(z))
        over = {"positives": positives, "negatives": negatives}
        logs = [
            torch.logsumexp(torch.where(over[o], times * z, EMPTY), 1)
            for o, times in self.problem.sums
        ]
        linear = torch.where(positives, z, 0.0).sum(1)
        first = logs[0] if first_log is None else first_log
        u = z - first[:, None]
        if self.problem.pair == "softplus":
            pair = torch.where(positives, dense._softplus(-u), 0.0).sum(1)
        else:
            pair = torch.logsumexp(torch.where(positives, -dense._softplus(-u), EMPTY), 1)
        return logs, linear, pair

    def forward(self):
        with torch.no_grad():
            embeddings = [x.to(self.dtype) for x in self.embeddings]
            return tuple(self.found(z) for z in self.sides(embeddings, self.temperature))

    def found(self, z):
        logs, linear, pair = self.pieces(z)
        peak = torch.where(logs[0].isneginf(), EMPTY, torch.zeros_like(logs[0]))
        peaks = [torch.where(log.isneginf(), EMPTY, torch.zeros_like(log)) for log in logs]
        slope = None
        if self.problem.pair:
            with torch.enable_grad():
                first = logs[0].detach().requires_grad_()
                _, _, again = self.pieces(z, first)
                (slope,) = torch.autograd.grad(again[again.isfinite()].sum(), first)
                slope = torch.nan_to_num(slope)
        if self.problem.pair == "log_sigmoid":
            none = pair.isneginf()
            pair = (torch.where(none, EMPTY, pair), torch.zeros_like(pair))
        assert peak.shape == linear.shape
        own = self.own
        return KernelSums(
            tuple((own(p), own(log)) for p, log in zip(peaks, logs, strict=True)),
            own(linear) if self.problem.linear else None,
            None
            if not self.problem.pair
            else tuple(map(own, pair))
            if isinstance(pair, tuple)
            else own(pair),
            None if slope is None else own(slope),
        )

    def backward(self, sums, slopes):
        learned = isinstance(self.temperature, torch.Tensor)
        leaves = [x.to(self.dtype).detach().requires_grad_() for x in self.embeddings]
        t = self.temperature.detach().requires_grad_() if learned else self.temperature
        with torch.enable_grad():
            terms = []
            for z, slope in zip(self.sides(leaves, t), slopes, strict=True):
                logs, linear, _ = self.pieces(z)
                _, _, pair = self.pieces(z, logs[0].detach())
                each = sum(
                    torch.where(s == 0, 0.0, s * log)
                    for s, log in zip(slope.logs, logs, strict=True)
                )
                if slope.linear is not None:
                    each = each + slope.linear * linear
                if slope.pair is not None:
                    each = each + torch.where(slope.pair == 0, 0.0, slope.pair * pair)
                terms.append(each)
            found = torch.autograd.grad(sum(x.sum() for x in terms), leaves, retain_graph=True)
            part = sum(self.own(x).sum() for x in terms)
            by_t = torch.autograd.grad(part, t)[0] if learned else None
        own = self.problem.own
        if own is not None:
            found = tuple(g[own.start : own.start + own.size] for g in found)
        return tuple(found), by_t


@dataclass
class DenseQueries:
    problem: object
    embeddings: tuple
    temperature: object
    bias: object

    def run(self, weights):
        problem = self.problem
        dtype = torch.promote_types(self.embeddings[0].dtype, torch.float32)
        leaves = [x.to(dtype).detach().requires_grad_() for x in self.embeddings]
        given = [self.temperature, self.bias]
        learned = [x.detach().requires_grad_() if isinstance(x, torch.Tensor) else x for x in given]
        with torch.enable_grad():
            z = dense.similarities(leaves[0], leaves[1], problem.similarity) / learned[0]
            z = z + learned[1]
            eye = torch.eye(len(z), dtype=torch.bool)
            if problem.rule == "EachPair":
                losses = dense._softplus(torch.where(eye, -z, z)).sum(1)
            elif problem.pairing == "batch":
                against = torch.logsumexp(torch.where(eye, EMPTY, z), 1)
                losses = dense._softplus(against - z.diagonal())
            else:
                queue = dense.similarities(leaves[0], leaves[2], problem.similarity) / learned[0]
                losses = dense._softplus(torch.logsumexp(queue, 1) - z.diagonal())
            if problem.own is not None:
                numbers = torch.arange(len(z))
                start, size = problem.own
                here = (numbers >= start) & (numbers < start + size)
                losses = torch.where(here, losses, 0.0)
            if weights is None:
                return losses.detach(), (), None, None
            arrays = [x for x in (*leaves, *learned) if isinstance(x, torch.Tensor)]
            found = list(torch.autograd.grad((losses * weights).sum(), arrays))
        rest = found[len(leaves) :]
        slopes = [rest.pop(0) if isinstance(x, torch.Tensor) else None for x in learned]
        return losses.detach(), tuple(found[: len(leaves)]), *slopes


@dataclass
class Dense:
    whole: bool = False
    name: str = "dense"
    calls: list = field(default_factory=list)

    def fits(self, problem):
        if problem.features > 64:
            return False, f"{problem.features} features are more than 64"
        if problem.kind == "queries" and problem.rule not in ("EachPair", "OneWay"):
            return False, f"it does not know {problem.rule}"
        return True, ""

    def partition(self, problem, embeddings, labels, temperature):
        self.calls.append(problem)
        assert all(x.ndim == 2 for x in embeddings)
        return DensePasses(problem, embeddings, labels, temperature)

    def queries(self, problem, embeddings, temperature, bias):
        self.calls.append(problem)
        return DenseQueries(problem, embeddings, temperature, bias)


@pytest.fixture
def kernel(monkeypatch):
    found = Dense()
    monkeypatch.setattr(Torch, "kernels", lambda self, like, asked: (found,))
    return found


LOSSES = {
    "ntxent": nf.NTXent(),
    "ntxent first": nf.NTXent(anchors="first"),
    "ntxent self": nf.NTXent(include_self=True, similarity="dot", temperature=0.3),
    "ntxent cold": nf.NTXent(temperature=0.01),
    "dcl": nf.DCL(similarity="neg_sqeuclidean", temperature=2.0),
    "hcl": nf.HCL(),
    "hcl half": nf.HCL(beta=0.5, tau_plus=0.3, temperature=1.0),
    "clip": nf.CLIP(temperature=0.2),
    **{
        f"supcon {d} {p}": nf.SupCon(denominator=d, positives=p, temperature=0.3)
        for d in ("all", "own_positive", "negatives")
        for p in ("mean_log", "sum_log", "log_mean", "log_sum")
    },
    "supcon positive": nf.SupCon(include_self="positive"),
    "supcon self": nf.SupCon(include_self=True, denominator="own_positive"),
    "supcon pairs": nf.SupCon(average="pairs", reduction="sum"),
    "supcon zero": nf.SupCon(without_positives="zero", temperature=0.01),
    "supcon hot": nf.SupCon(denominator="own_positive"),
    "siglip": nf.SigLIP(bias=-2.0),
    "infonce": nf.InfoNCE(),
    "infonce queue": nf.InfoNCE(similarity="dot", temperature=0.5),
}
QUERIES = ("siglip", "infonce", "infonce queue")


def inputs_of(name, dtype=torch.float64):
    rng = np.random.default_rng(8)
    x, y, z = (torch.tensor(rng.normal(size=(ROWS, FEATURES))).to(dtype) for _ in range(3))
    if name == "supcon hot":
        return [x], [torch.tensor(rng.random((ROWS, 3)) < 0.4).long()]
    if name.startswith("supcon"):
        return [x], [torch.tensor([0] * 6 + [1] * 3 + [2, 3] + list(range(4, 8)) * 2 + [4, 5, 5])]
    return [x, x + y, *([z[:9]] if name == "infonce queue" else [])], []


def differentiated(loss, embeddings, labels, upstream=1.0, **learned):
    leaves = [x.clone().requires_grad_() for x in embeddings]
    scalars = {
        k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in learned.items()
    }
    value = loss(*leaves, *labels, **scalars)
    upstream = torch.as_tensor(upstream, dtype=value.dtype).expand(value.shape)
    return value.detach(), torch.autograd.grad(value, [*leaves, *scalars.values()], upstream)


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-12)
    for one, other in zip(found[1], expected[1], strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_the_tiles(kernel, name):
    loss = LOSSES[name]
    embeddings, labels = inputs_of(name)
    learned = {"temperature": 0.4}
    if name == "siglip":
        learned["bias"] = -1.5
    for more in ({}, learned):
        expected = differentiated(
            loss.with_options(kernel="tiles"), embeddings, labels, 3.0, **more
        )
        assert not kernel.calls
        assert_same(differentiated(loss, embeddings, labels, 3.0, **more), expected)
        assert kernel.calls
        assert kernel.calls[0].learned == tuple(p in more for p in loss.parameters)
        kernel.calls.clear()


@pytest.mark.parametrize(
    "name", ["ntxent", "ntxent first", "supcon all mean_log", "clip", "siglip"]
)
def test_a_vector_of_losses(kernel, name):
    loss = nf.loss_from_dict({**LOSSES[name].to_dict(), "reduction": "none"})
    embeddings, labels = inputs_of(name)
    anchors = len(loss(*embeddings, *labels))
    upstream = torch.linspace(-1.0, 2.0, anchors, dtype=torch.float64)
    expected = differentiated(loss.with_options(kernel="tiles"), embeddings, labels, upstream)
    assert_same(differentiated(loss, embeddings, labels, upstream), expected)


def test_a_gradient_twice_and_a_gradient_of_a_gradient(kernel):
    """The second gradient finds nothing kept; one that is differentiated takes no kernel."""
    (x, y), _ = inputs_of("ntxent")
    x.requires_grad_()
    value = nf.NTXent()(x, y)
    (first,) = torch.autograd.grad(value, x, retain_graph=True)
    (second,) = torch.autograd.grad(value, x)
    torch.testing.assert_close(first, second)
    kernel.calls.clear()
    tiles = nf.NTXent().with_options(kernel="tiles")
    found = []
    for loss in (nf.NTXent(), tiles):
        (g,) = torch.autograd.grad(loss(x, y), x, create_graph=True)
        found.append(torch.autograd.grad((g**2).sum(), x)[0])
    torch.testing.assert_close(*found)


def test_half_precision_arrives_as_it_is(kernel):
    embeddings, _ = inputs_of("clip", torch.bfloat16)
    value, gradients = differentiated(nf.CLIP(temperature=0.2), embeddings, [])
    assert kernel.calls[0].dtype == "bfloat16"
    assert value.dtype == torch.float32
    assert all(g.dtype == torch.bfloat16 for g in gradients)


def test_what_a_problem_says(kernel):
    embeddings, labels = inputs_of("supcon self")
    differentiated(LOSSES["supcon self"], embeddings, labels)
    problem = kernel.calls[0]
    assert problem.kind == "partition"
    assert problem.pairing == problem.labels.replace("int64", "labels") == "labels"
    assert problem.sums == (("negatives", 1.0),)
    assert (problem.linear, problem.pair, problem.include_self) == (False, "softplus", True)
    assert (problem.rows, problem.features, problem.device) == ((ROWS,), FEATURES, "cpu")
    assert problem.own is None


def test_fits_says_yes_or_why_not(kernel):
    (x, y), _ = inputs_of("clip")
    labels = torch.arange(ROWS) % 3
    assert nf.kernels.fits(nf.CLIP(), x, y) == (True, "dense")
    wide = torch.ones(3, 65)
    assert nf.kernels.fits(nf.CLIP(), wide, wide) == (
        False,
        "dense: 65 features are more than 64",
    )
    assert nf.kernels.fits(nf.CLIP().with_options(kernel="tiles"), x, y)[0] is False
    fits, reason = nf.kernels.fits(nf.SupCR(), x, labels.double())
    assert not fits
    assert "Ranks" in reason
    with pytest.raises(ValueError, match="65 features are more than 64"):
        nf.CLIP().with_options(kernel="fused")(wide, wide)
    assert nf.kernels.fits(nf.CLIP().with_options(kernel="fused"), wide, wide)[0] is False
    nf.CLIP().with_options(kernel="fused")(x, y)


class Anything:
    """A kernel that says yes to whatever it is asked."""

    name = "anything"
    whole = False

    def fits(self, problem):
        return True, ""

    def partition(self, *_):
        raise AssertionError("a call was given to a kernel that cannot know what it asks")

    queries = partition


R, LABELS = torch.linspace(-1, 2, 40).reshape(8, 5).sin(), torch.arange(8) % 3
MORE = {
    "ids": (nf.CLIP(), (R, R.cos(), LABELS), {}),
    "ids of siglip": (nf.SigLIP(), (R, R.cos(), LABELS), {}),
    "reference": (nf.SupCon(), (R, LABELS, R.cos(), LABELS), {}),
    "exclude": (nf.SupCon(exclude=nf.Exclude(by="self")), (R, LABELS), {}),
    "exclude of siglip": (nf.SigLIP(exclude=nf.Exclude(by="self")), (R, R.cos()), {}),
    "guide": (nf.NTXent(exclude=nf.Exclude()), (R, R.cos()), {"guide": (R, R.cos())}),
    "sample_weight": (nf.NTXent(), (R, R.cos()), {"sample_weight": torch.arange(8.0)}),
    "sample_weight of siglip": (nf.SigLIP(), (R, R.cos()), {"sample_weight": torch.arange(8.0)}),
    "log_q": (nf.CLIP(), (R, R.cos()), {"log_q": (-torch.arange(8.0),) * 2}),
    "queue": (nf.InfoNCE(), (R, R.cos()), {"queue": R.exp()}),
    "valid": (
        nf.InfoNCE(),
        (R, R.cos(), R[:, None].exp()),
        {"valid": torch.arange(8)[:, None] > 2},
    ),
    "directions": (nf.InfoNCE(directions=("qp", "qq")), (R, R.cos()), {}),
    "targets": (nf.SoftContrastive(weights="rbf"), (R, LABELS.float()), {}),
    "uneven sides": (nf.CLIP(), (R, R[:6].cos(), (LABELS, LABELS[:6])), {}),
}


@pytest.mark.parametrize("name", MORE)
def test_what_no_kernel_knows_is_not_given_to_one(monkeypatch, name):
    """The reason names what was given beyond two views, sides, labels or queries."""
    loss, given, named = MORE[name]
    monkeypatch.setattr(Torch, "kernels", lambda self, like, asked: (Anything(),))
    fits, reason = nf.kernels.fits(loss, *given, **named)
    assert not fits
    assert name.split()[0] in reason or name == "uneven sides"
    value, _ = loss.value_and_grad(*given, **named)
    assert value.isfinite()
    with pytest.raises(ValueError, match="expected a call that a fused kernel takes"):
        loss.with_options(kernel="fused").value_and_grad(*given, **named)


def test_a_sum_of_losses_fits_where_each_does(kernel):
    assert nf.kernels.fits(nf.SupCon() + 0.5 * nf.SupCon(temperature=1.0), R, LABELS)[0]
    fits, reason = nf.kernels.fits(nf.SupCon() + 0.5 * nf.SmoothAP(), R, LABELS)
    assert not fits
    assert "SmoothRanks" in reason


def test_without_kernels():
    x = np.eye(3)
    assert nf.kernels.fits(nf.CLIP(), x, x)[0] is False
    with pytest.raises(ValueError, match="there are no fused kernels for numpy"):
        nf.CLIP().with_options(kernel="fused")(x, x)
    with pytest.raises(ValueError, match="kernel"):
        nf.CLIP().with_options(kernel="triton")


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "infonce queue"])
def test_on_two_ranks(kernel, name):
    """Each takes the kernel for its own rows, and together they are the whole."""
    from nearfar.evaluate.partition import strip

    loss = LOSSES[name]
    if loss.stated("anchors") == "first":
        loss = nf.NTXent()
    embeddings, labels = inputs_of(name)
    t = torch.tensor(0.4, dtype=torch.float64)
    expected = differentiated(
        loss.with_options(kernel="tiles"), embeddings, labels, temperature=0.4
    )
    call = loss._open((*embeddings, *labels), {"temperature": t})
    shares = [Block(0, 9), Block(9, ROWS - 9)]
    if name in QUERIES:
        from dataclasses import replace

        parts = [
            replace(call.evaluation, share=(k, 2)).partial(
                NAMESPACE, call.arrays, (True,) * len(call.arrays)
            )
            for k in range(2)
        ]
        assert [p.own.size for p in kernel.calls] == [11, 11]
        factor = 1 / sum(p.terms for p in parts)
        value = sum(p.loss for p in parts) * factor
        gradients = [sum(each) * factor for each in zip(*(p.gradients for p in parts), strict=True)]
    else:
        barrier, sent = threading.Barrier(2), {}

        def rank(k):
            def complete(parts):
                barrier.wait()
                sent[k] = parts
                barrier.wait()
                return tuple(torch.cat(each) for each in zip(sent[0], sent[1], strict=True))

            with torch.no_grad():
                return strip(call.evaluation, NAMESPACE, call.arrays, shares, k, complete, True)

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(rank, range(2)))
        assert {p.own for p in kernel.calls} == set(shares)
        value = found[0].value
        gradients = [
            torch.cat(each) for each in zip(*(one.gradients for one in found), strict=True)
        ]
        gradients.append(sum(one.by_temperature for one in found))
    assert_same((value, gradients), expected)


def test_devices_that_have_not_run_the_kernels(kernel, monkeypatch):
    """They take tiles, unless the kernels are asked for by name."""
    from nearfar.frameworks.torch.namespace import Torch

    monkeypatch.setattr(Torch, "kernels", lambda self, like, asked: (kernel,) if asked else ())
    x = torch.eye(6, 4)
    fits, reason = nf.kernels.fits(nf.CLIP(), x, x)
    assert not fits
    assert "have not been seen to run on a device of this kind" in reason
    assert nf.kernels.fits(nf.CLIP().with_options(kernel="fused"), x, x)[0] is True


@pytest.mark.parametrize(("capability", "taken"), [((9, 0), True), ((8, 6), False)])
def test_cards_by_capability(triton_kernels, monkeypatch, capability, taken):
    from nearfar.frameworks.torch import namespace

    monkeypatch.setattr(namespace, "_capability", lambda device: capability)
    card = torch.device("cuda", 0)
    assert bool(namespace._triton(card, False)) is taken
    assert namespace._triton(card, True) == (triton_kernels.KERNEL,)
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.delitem(sys.modules, "triton")
    assert namespace._triton(card, True) == ()
