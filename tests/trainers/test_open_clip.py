"""The loss in open_clip's call form is open_clip's formula, written out here."""

import numpy as np
import pytest
import torch
from support import peers
from torch.nn import functional

import nearfar as nf
from nearfar.torch import Loss, OpenCLIPLoss

RNG = np.random.default_rng(83)
N, D = 7, 5
UPSTREAM = 1.7


def clip(image, text, scale, bias):
    logits = scale * image @ text.T + (0 if bias is None else bias)
    places = torch.arange(len(image))
    both = functional.cross_entropy(logits, places) + functional.cross_entropy(logits.T, places)
    return both / 2


def siglip(image, text, scale, bias):
    logits = scale * image @ text.T + (0 if bias is None else bias)
    signs = 2 * torch.eye(len(image), dtype=logits.dtype) - 1
    return -functional.logsigmoid(signs * logits).sum() / len(image)


def inputs(normalise=False, axes=()):
    """Leaves, and what the loss is called with: features of their lengths or of length 1."""
    leaves = [torch.tensor(RNG.normal(size=(N, D)), requires_grad=True) for _ in range(2)]
    leaves += [torch.tensor(x, dtype=torch.float64).reshape(axes) for x in (1.9, -3.0)]
    for x in leaves[2:]:
        x.requires_grad_()
    image, text, log_scale, bias = leaves
    if normalise:
        image, text = functional.normalize(image, dim=1), functional.normalize(text, dim=1)
    return leaves, {
        "image_features": image,
        "text_features": text,
        "logit_scale": log_scale.exp(),
        "logit_bias": bias,
    }


def gradients(value, leaves):
    return torch.autograd.grad(UPSTREAM * value, leaves, retain_graph=True)


@pytest.mark.parametrize(("loss", "formula"), [(nf.CLIP, clip), (nf.SigLIP, siglip)])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("axes", [(), (1,)])
def test_value_and_gradients_are_those_of_the_formula(loss, formula, similarity, axes):
    leaves, call = inputs(normalise=similarity == "cosine", axes=axes)
    want = formula(*call.values()).squeeze()
    criterion = OpenCLIPLoss(loss(similarity=similarity))
    found = criterion(**call, output_dict=True)
    assert list(found) == ["contrastive_loss"]
    value = found["contrastive_loss"]
    assert value.dtype == torch.float64
    assert value.shape == ()
    torch.testing.assert_close(value, want, rtol=1e-12, atol=0)
    for one, other in zip(gradients(value, leaves), gradients(want, leaves), strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)


def test_without_output_dict_it_is_the_value_and_order_is_open_clips():
    _, call = inputs()
    value = OpenCLIPLoss(nf.SigLIP(similarity="dot"))(*call.values())
    torch.testing.assert_close(value, siglip(*call.values()), rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [12.5, torch.tensor(12.5)])
def test_a_bias_left_out_is_the_losss_own(scale):
    _, call = inputs()
    image, text = call["image_features"], call["text_features"]
    value = OpenCLIPLoss(nf.SigLIP(bias=-4.0, similarity="dot"))(image, text, scale)
    torch.testing.assert_close(value, siglip(image, text, 12.5, -4.0), rtol=1e-12, atol=0)


def test_half_precision_scales_get_their_gradient():
    _, call = inputs(normalise=True)
    image, text = (call[name].detach().bfloat16() for name in ("image_features", "text_features"))
    scale = torch.tensor(14.0, dtype=torch.bfloat16, requires_grad=True)
    exact = torch.tensor(14.0, dtype=torch.float64, requires_grad=True)
    value = OpenCLIPLoss(nf.CLIP(similarity="dot"))(image, text, scale)
    want = clip(image.double(), text.double(), exact, None)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), want, rtol=1e-5, atol=0)
    (slope,), (other,) = (torch.autograd.grad(x, y) for x, y in ((value, scale), (want, exact)))
    assert slope.dtype == torch.bfloat16
    torch.testing.assert_close(slope.double(), other, rtol=0.01, atol=0)


def test_a_training_step_as_open_clips():
    """The model returns a dictionary; the losses are added up; all parameters move.

    Of 50 texts that were not seen most are found by their image.
    """

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(5)
            self.image, self.text = torch.nn.Linear(D, 4), torch.nn.Linear(D, 4)
            self.logit_scale = torch.nn.Parameter(torch.tensor(np.log(10.0)).float())
            self.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))

        def forward(self, image, text):
            return {
                "image_features": functional.normalize(self.image(image), dim=-1),
                "text_features": functional.normalize(self.text(text), dim=-1),
                "logit_scale": self.logit_scale.exp(),
                "logit_bias": self.logit_bias,
            }

    model, criterion = Model(), OpenCLIPLoss(nf.SigLIP())
    mixed = torch.tensor(RNG.normal(size=(D, D))).float()
    image, unseen = torch.tensor(RNG.normal(size=(2, 50, D))).float()
    text = image @ mixed

    def top1():
        found = model(unseen, unseen @ mixed)
        near = (found["image_features"] @ found["text_features"].T).argmax(1)
        return (near == torch.arange(50)).float().mean().item()

    assert top1() < 0.2
    before = [p.detach().clone() for p in model.parameters()]
    search = torch.optim.Adam(model.parameters(), lr=0.05)
    seen = []
    for _ in range(60):
        search.zero_grad()
        losses = criterion(**model(image, text), output_dict=True)
        total = sum(losses.values())
        total.backward()
        search.step()
        seen.append(total.item())
    assert seen[-1] < 0.3 * seen[0]
    assert top1() > 0.8
    assert not any(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def test_open_clips_own_losses():
    losses = peers.open_clip_loss()
    for loss, theirs in ((nf.CLIP, losses.ClipLoss()), (nf.SigLIP, losses.SigLipLoss())):
        _, call = inputs(normalise=True)
        call["logit_bias"] = call["logit_bias"] if loss is nf.SigLIP else None
        ours = OpenCLIPLoss(loss())(**call, output_dict=True)
        want = theirs(**call, output_dict=True)
        assert set(ours) == set(want)
        torch.testing.assert_close(*(x["contrastive_loss"] for x in (ours, want)))


EYE = torch.eye(3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: OpenCLIPLoss(torch.nn.MSELoss()), TypeError, "nearfar loss; received MSELoss"),
        (lambda: OpenCLIPLoss(nf.SupCon()), ValueError, "two sides .* received SupCon"),
        (lambda: OpenCLIPLoss(nf.CLIP(scale_by="temperature")), ValueError, "a call can give"),
        (lambda: OpenCLIPLoss(Loss(nf.CLIP(), True)), ValueError, "leave learn_temperature out"),
        (lambda: OpenCLIPLoss(nf.CLIP())(EYE, EYE, 0.0), ValueError, "logit_scale above 0"),
        (
            lambda: OpenCLIPLoss(nf.CLIP())(EYE, EYE, torch.tensor(-2.0)),
            ValueError,
            "logit_scale above 0.*received -2.0",
        ),
        (
            lambda: OpenCLIPLoss(nf.CLIP())(EYE, EYE, torch.ones(2)),
            ValueError,
            r"logit_scale to be one number; received shape \(2,\)",
        ),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
