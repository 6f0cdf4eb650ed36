"""The fused kernels against the same losses in float64 tiles, through the public calls.

Interpreted where there is no GPU, in small tiles, so that several meet in every direction.
"""

import numpy as np
import pytest
import torch

import nearfar as nf

# NumPy, which interprets, warns of what a GPU computes in silence.
pytestmark = [pytest.mark.filterwarnings("ignore::RuntimeWarning")]

VALUE, GRADIENT = 1e-6, 5e-6
HALF = torch.bfloat16


def drawn(n, d, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator).to(dtype)


def classes(n, many=7, seed=5):
    return torch.randint(0, many, (n,), generator=torch.Generator().manual_seed(seed))


def two(n=23, d=20, dtype=torch.float32):
    return drawn(n, d, 1, dtype), drawn(n, d, 2, dtype)


def labelled(n=45, d=20, dtype=torch.float32):
    return drawn(n, d, 3, dtype), classes(n)


def queued(n=23, d=20, dtype=torch.float32):
    return (*two(n, d, dtype), drawn(50, d, 4, dtype))


def distance(x, y):
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    return float((x - y).norm() / y.norm().clamp_min(1e-300))


def reference(loss, inputs, **named):
    wide = [x.double() if x.is_floating_point() else x for x in inputs]
    named = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in named.items()}
    return loss.with_options(kernel="tiles").value_and_grad(*wide, **named)


def fused_call(loss, inputs, device, **named):
    """By kernels, or an error."""
    loss = loss.with_options(kernel="fused")
    named = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in named.items()}
    return loss.value_and_grad(*[x.to(device) for x in inputs], **named)


def agree(loss, inputs, device, value=VALUE, gradient=GRADIENT, **named):
    wanted, slopes = reference(loss, inputs, **named)
    found, gradients = fused_call(loss, inputs, device, **named)
    assert found.dtype == torch.float32
    assert found.device.type == device
    assert abs(found.item() - wanted.item()) <= value * max(1, abs(wanted.item()))
    named = zip(loss.inputs, inputs, strict=False)
    embeddings = [x for name, x in named if name in loss.embeddings]
    for x, y, z in zip(gradients, slopes, embeddings, strict=False):
        assert x.dtype == z.dtype
        assert x.shape == z.shape
        assert distance(x, y) <= gradient
    learned = len(embeddings)
    for x, y in zip(gradients[learned:], slopes[learned:], strict=True):
        assert distance(x, y) <= 3 * gradient


S = nf.SupCon
CONVENTIONS = [
    (nf.NTXent(), two),
    (nf.NTXent(temperature=0.01), two),
    (nf.NTXent(denominator="negatives", scale=3.0), two),
    (nf.NTXent(include_self=True, reduction="sum"), two),
    (nf.NTXent(anchors="first"), two),
    (nf.NTXent(similarity="neg_sqeuclidean", temperature=4.0), two),
    (nf.NTXent(hardness=2.0), two),
    (nf.DCL(), two),
    (nf.HCL(), two),
    (nf.HCL(beta=0.5, temperature=0.2), two),
    (nf.HCL(beta=0.0, detach_weights=True), two),
    (S(), labelled),
    (S(temperature=0.02), labelled),
    (S(denominator="negatives", positives="sum_log"), labelled),
    (S(denominator="own_positive", average="pairs"), labelled),
    (S(denominator="own_positive", positives="log_mean", include_self=True), labelled),
    (S(positives="log_sum", without_positives="zero"), labelled),
    (S(positives="log_mean", denominator="negatives"), labelled),
    (S(include_self=True), labelled),
    (S(include_self="positive"), labelled),
    (S(similarity="dot", temperature=3.0), labelled),
    (S(similarity="neg_sqeuclidean", temperature=4.0), labelled),
    (nf.CLIP(), two),
    (nf.CLIP(similarity="dot", temperature=0.2), two),
    (nf.SigLIP(), two),
    (nf.SigLIP(bias=-2.0, similarity="neg_sqeuclidean", temperature=9.0), two),
    (nf.InfoNCE(), two),
    (nf.InfoNCE(), queued),
    (nf.InfoNCE(temperature=0.01, similarity="cosine"), queued),
]


def name_of(case):
    return repr(case) if isinstance(case, nf.Loss) else case.__name__


@pytest.mark.parametrize(("loss", "inputs"), CONVENTIONS, ids=name_of)
def test_every_rule_and_switch(fused, loss, inputs):
    agree(loss, inputs(), fused)


@pytest.mark.parametrize(
    ("loss", "inputs"),
    [CONVENTIONS[k] for k in (0, 1, 8, 11, 14, 19, 22, 24, 27)],
    ids=name_of,
)
def test_bfloat16_gradients_are_the_rounded_exact_ones(fused, loss, inputs):
    given = inputs(dtype=HALF)
    wanted, slopes = reference(loss, given)
    found, gradients = fused_call(loss, given, fused)
    assert abs(found.item() - wanted.item()) <= VALUE * max(1, abs(wanted.item()))
    wrong = total = 0
    for x, y in zip(gradients, slopes, strict=True):
        assert x.dtype == HALF
        wrong += int((x.cpu() != y.to(HALF)).sum())
        total += x.numel()
    assert wrong <= max(2, total / 200)


@pytest.mark.parametrize("switches", [{"denominator": "own_positive"}, {"positives": "log_sum"}])
def test_bfloat16_weights_of_many_positives_keep_three_pieces(fused, switches):
    x, labels = labelled(n=96, d=48, dtype=HALF)
    loss = S(**switches)
    _, (wanted,) = reference(loss, (x, labels))
    _, (found,) = fused_call(loss, (x, labels), fused)
    assert float((found.cpu() != wanted.to(HALF)).double().mean()) <= 1 / 1000


def test_float16(fused):
    agree(nf.NTXent(), two(dtype=torch.float16), fused, gradient=5e-4)
    agree(nf.SigLIP(), two(dtype=torch.float16), fused, gradient=5e-4)


@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_learned_temperature(fused, temperature):
    t = torch.tensor(temperature)
    for loss, inputs in ((nf.NTXent(), two()), (nf.CLIP(), two()), (S(), labelled())):
        agree(loss, inputs, fused, temperature=t, gradient=2 * GRADIENT)


def test_learned_bias(fused):
    t, b = torch.tensor(0.2), torch.tensor(-3.0)
    agree(nf.SigLIP(), two(), fused, temperature=t, bias=b)
    agree(nf.HCL(), two(), fused, temperature=t)
    agree(nf.InfoNCE(), queued(), fused, temperature=t)


def test_a_learned_temperature_with_a_factor_from_above(fused):
    """Some of HCL's derivative by it does not come through the logits."""
    slopes = {}
    for kernel, dtype, place in (("tiles", torch.float64, "cpu"), ("fused", torch.float32, fused)):
        t = torch.tensor(0.3, dtype=dtype, device=place, requires_grad=True)
        loss = nf.HCL().with_options(kernel=kernel)
        (2.5 * loss(*(x.to(place, dtype) for x in two()), temperature=t)).backward()
        slopes[kernel] = t.grad
    assert slopes["fused"].dtype == torch.float32
    assert distance(slopes["fused"], slopes["tiles"]) <= GRADIENT


@pytest.mark.parametrize(
    ("loss", "inputs", "reduction"),
    [
        (*CONVENTIONS[k], reduction)
        for k, reduction in zip((0, 4, 11, 22, 24, 27), ("mean", "none") * 3, strict=True)
    ],
    ids=lambda x: x if isinstance(x, str) else name_of(x),
)
def test_autograd_with_any_upstream(fused, loss, inputs, reduction):
    kind = type(loss)
    fields = {k: v for k, v in loss.to_dict().items() if k not in ("loss", "reduction")}
    loss = kind(**fields, reduction=reduction)

    def run(loss, given):
        leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in given]
        value = loss(*leaves)
        up = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape) + 0.5
        value.backward(up.to(value.device), retain_graph=True)
        first = [x.grad.clone() for x in leaves if x.is_floating_point()]
        value.backward(up.to(value.device))  # a second time, from what was saved
        both = [x.grad for x in leaves if x.is_floating_point()]
        return value, first, both

    given = inputs()
    wide = [x.double() if x.is_floating_point() else x for x in given]
    wanted, slopes, _ = run(loss.with_options(kernel="tiles"), wide)
    found, gradients, twice = run(loss.with_options(kernel="fused"), [x.to(fused) for x in given])
    assert found.shape == wanted.shape
    assert distance(found, wanted) <= VALUE
    for x, y, z in zip(gradients, slopes, twice, strict=True):
        assert distance(x, y) <= GRADIENT
        assert torch.equal(2 * x, z)


@pytest.mark.parametrize("d", [1, 17, 130, pytest.param(300, marks=pytest.mark.long)])
def test_features(fused, d):
    gradient = GRADIENT if d > 1 else 1e-4  # rows of one feature are parallel: a gradient of 0
    if d == 1:
        agree(
            nf.SupCon(similarity="dot", temperature=3.0), labelled(37, d), fused, gradient=gradient
        )
        return
    agree(nf.NTXent(), two(17, d), fused)
    agree(nf.SigLIP(), two(17, d), fused)
    agree(nf.SupCon(), labelled(37, d), fused)


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
def test_many_features_in_several_tiles(fused, monkeypatch, dtype):
    from nearfar.frameworks.triton import tiled

    monkeypatch.setattr(tiled, "_LEAST", 128)
    bound = {"value": VALUE, "gradient": GRADIENT if dtype == torch.float32 else 5e-3}
    for loss, inputs in ((nf.CLIP(), two(140, 300, dtype)), (S(), labelled(140, 300, dtype))):
        agree(loss.with_options(memory=2**17), inputs, fused, **bound)


@pytest.mark.parametrize("n", [1, 2, 33])
def test_odd_sizes(fused, n):
    agree(nf.NTXent(), two(n, 20), fused)
    agree(nf.CLIP(), two(n, 20), fused)
    agree(nf.InfoNCE(), two(n, 20), fused)


@pytest.mark.parametrize(("scale", "dtype"), [(1e-30, torch.float32), (1e20, HALF)])
def test_rows_of_any_scale(fused, scale, dtype):
    z, labels = labelled()
    mixed = z * torch.logspace(-12, 12, len(z))[:, None]
    bound = GRADIENT if dtype == torch.float32 else 5e-3
    for rows in (z * scale, mixed):
        given = rows.to(dtype)
        wanted, (slope,) = reference(S(), (given, labels))
        found, (gradient,) = fused_call(S(), (given, labels), fused)
        assert abs(found.item() - wanted.item()) <= VALUE * wanted.item()
        norms = given.double().norm(dim=1, keepdim=True)  # gradients go as one over the norm
        assert distance(gradient.cpu().double() * norms, slope * norms) <= bound


def test_zero_rows_duplicates_one_class_and_none(fused):
    z, labels = labelled()
    z = z.clone()
    z[3] = 0
    z[10:14] = z[20]
    for given in (labels, torch.zeros_like(labels), torch.arange(len(z))):
        agree(S(), (z, given), fused)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
def test_label_dtypes(fused, dtype):
    z, labels = labelled()
    agree(S(), (z, (labels > 2 if dtype == torch.bool else labels).to(dtype)), fused)


def test_rows_at_any_stride(fused):
    wide, labels = drawn(45, 60, 9), classes(90)[::2]
    for rows in (wide[:, 3:23], wide[:, ::3], drawn(20, 45, 8).T):
        agree(S(), (rows, labels), fused)


def test_nan_spreads(fused):
    z, labels = labelled()
    z = z.clone()
    z[5, 3] = float("nan")
    found, (gradient,) = fused_call(S(), (z, labels), fused)
    assert torch.isnan(found)
    assert torch.isnan(gradient).any(1).all()


@pytest.mark.parametrize(("loss", "inputs"), [CONVENTIONS[k] for k in (0, 11, 24)], ids=name_of)
def test_the_same_bits_twice(fused, loss, inputs):
    one, two = (fused_call(loss, inputs(), fused) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert all(torch.equal(x, y) for x, y in zip(one[1], two[1], strict=True))


@pytest.mark.long
def test_bands_of_little_memory(fused):
    agree(nf.NTXent().with_options(memory=2**14), two(80), fused)
    agree(S(temperature=0.02).with_options(memory=2**14), labelled(150), fused)


def test_what_does_not_fit_says_why(fused):
    a, b = (x.to(fused) for x in two())
    for loss, inputs, reason in (
        (nf.NTXent(), (a.double(), b.double()), "float64"),
        (nf.NTXent(), (a, b.double()), "float32,float64"),
        (nf.NTXent(similarity="neg_euclidean"), (a, b), "neg_euclidean"),
        (nf.SupCR(), (a, a[:, 0]), "Ranks"),
        (S(), (a, torch.ones(23, 4, dtype=torch.int64, device=fused)), "multi-hot"),
        (S(denominator="own_positive"), (drawn(9, 300).to(fused), classes(9).to(fused)), "300"),
    ):
        fits, why = nf.kernels.fits(loss, *inputs)
        assert not fits
        assert reason in why
        with pytest.raises(ValueError, match="expected a call that a fused kernel takes"):
            loss.with_options(kernel="fused")(*inputs)


def test_second_order_takes_tiles(fused):
    a, b = (x.to(fused).requires_grad_() for x in two(5, 4))
    value = nf.NTXent()(a, b)
    (slope,) = torch.autograd.grad(value, a, create_graph=True)
    (again,) = torch.autograd.grad(slope.pow(2).sum(), a)
    assert torch.isfinite(again).all()
    assert float(again.abs().max()) > 0


def test_a_rule_that_cannot_be_written_down(triton_kernels):
    from nearfar.frameworks.triton.rule import Untraceable, written

    def branching(ns, known):
        if known["log0"] > 0:
            return known["log0"], ((known["log0"],), None, None, None)
        return known["linear"], ((known["log0"],), None, None, None)

    def unknown(ns, known):
        return ns.xp.arctan(known["log0"]), ((known["log0"],), None, None, None)

    with pytest.raises(Untraceable, match="decides by the values"):
        written(branching)
    with pytest.raises(Untraceable, match="arctan"):
        written(unknown)


def test_programs_are_told_apart_as_triton_tells_them(fused, monkeypatch):
    """A program compiled for one dtype, alignment or stride must not be launched for another."""
    from nearfar.frameworks.triton import launch, partition

    known = {}

    class Checking(launch.Launcher):
        def __call__(self, kernel, grid, arguments, constants, warps, stages, *more):
            key = (kernel.fn.__name__, constants, warps, stages, self._key, more)
            names = kernel.arg_names
            kind = [self._kind(kernel, n, v) for n, v in zip(names, arguments, strict=False)]
            assert known.setdefault(key, kind) == kind, key[0]

        @staticmethod
        def _kind(kernel, name, value):
            if isinstance(value, torch.Tensor):
                return value.dtype, value.data_ptr() % 16 == 0
            if isinstance(value, float) or name in FREE.get(kernel.fn.__name__, ()):
                return type(value)
            return value == 1, value % 16 == 0

    monkeypatch.setattr(partition, "Launcher", Checking)
    rows = np.random.default_rng(0)

    def embedding(n, d, how, dtype):
        if how == 0:
            return torch.as_tensor(rows.normal(size=(n, d))).to(dtype)
        if how == 1:
            return torch.as_tensor(rows.normal(size=(n, d + 3))).to(dtype)[:, 1 : d + 1]
        return torch.as_tensor(rows.normal(size=(d, n))).to(dtype).T

    for d in (1, 16, 20, 100, 128, 300):
        for how in range(3):
            for dtype in (torch.float32, HALF):
                for n in (2, 34, 130):
                    x, y = (embedding(n, d, how, dtype).to(fused) for _ in range(2))
                    labels = classes(n).to(fused)
                    for loss in (nf.NTXent(), nf.CLIP(), nf.InfoNCE(), nf.SigLIP()):
                        loss.value_and_grad(x, y)
                    nf.CLIP().value_and_grad(x, y, temperature=torch.tensor(0.1, device=fused))
                    S().value_and_grad(x, labels)
    assert len(known) > 500


# Arguments that the kernels say are not specialised; the interpreter keeps no such list.
_BAND = {"n", "m", "first", "band", "left", "slots"}
FREE = {
    "prepare": {"n", "d", "padded", "start0", "start1", "number"},
    "restore": {"n", "d", "splits", "start0", "start1", "row_stride0", "row_stride1"},
    "accumulate": _BAND,
    "finish": _BAND | {"number", "alike", "negatives"},
    "pull": {"n", "m", "per", "pairs"},
    "pull_sigmoid": {"n", "per", "alike", "number"},
    "count": {"n", "itself"},
    "aggregate": {"n", "number", "negatives"},
    "weigh_anchors": {"n", "others", "scale"},
    "weigh_pairs": {"n", "m", "top", "left", "pairs"},
    "weigh_sigmoid": {"n", "top", "left", "columns", "alike", "number"},
}
