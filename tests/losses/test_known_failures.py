"""Inputs on which published implementations overflow, saturate or lose the gradient.

The numbers (N1 ...) are those of the project's notes on numerical failures.
"""

import math

import numpy as np
import pytest
from oracles import hcl, supcr
from support.agreement import assert_gradients, assert_value, check, truth
from support.backends import FRAMEWORKS

import nearfar as nf


def normal(*shape):
    """The same numbers whichever tests ran before."""
    return np.random.default_rng(111).normal(size=shape)


def at_angles(*radians):
    return np.array([[math.cos(t), math.sin(t)] for t in radians])


@pytest.mark.parametrize("temperature", [0.0113, 0.0112, 0.0014])
def test_identical_rows_at_the_edge_of_exp(framework, dtype, temperature):
    """N1: exp(1 / temperature) passes the largest float32, then the largest float64."""
    rows = np.tile([[0.6, 0.8]], (4, 1))
    check(framework, "NTXent", [rows, rows], dtype=dtype, temperature=temperature)
    value = nf.NTXent(temperature=temperature)(*(framework.asarray(rows, dtype) for _ in "ab"))
    assert abs(float(value) - math.log(7)) < 1e-6 * (1 + 1 / temperature)


@pytest.mark.parametrize(
    ("framework", "half"),
    [(f, half) for f in FRAMEWORKS.values() for half in f.half_dtypes],
    ids=lambda x: getattr(x, "name", x),
)
@pytest.mark.parametrize("temperature", [0.0902, 0.09])
def test_identical_rows_in_half_precision(framework, half, temperature):
    """N2."""
    rows = np.tile([[0.6, 0.8]], (4, 1))
    check(framework, "NTXent", [rows, rows], dtype=half, temperature=temperature)


@pytest.mark.parametrize(
    ("cosine", "temperature"), [(-0.04, 0.01), (-0.05, 0.01), (0.47, 0.005), (0.0, 0.01)]
)
def test_the_anchor_itself_is_no_maximum(framework, dtype, cosine, temperature):
    """N3 to N5: thirty candidates alike, a hundred below the anchor's own logit: log 30."""
    rows = np.array([[1.0, 0.0]] + 30 * [[cosine, math.sqrt(1 - cosine**2)]])
    labels = [0, 0, *range(1, 30)]
    x = framework.asarray(rows, dtype)
    loss = nf.SupCon(temperature=temperature, reduction="none")
    losses = framework.read(loss(x, framework.labels(labels)))
    assert abs(losses[0] - math.log(30)) < {"float32": 1e-4, "float64": 1e-12}[dtype]
    check(framework, "SupCon", [rows], labels, dtype=dtype, temperature=temperature)


@pytest.mark.parametrize(
    ("temperature", "value", "norm"),
    [
        (0.1, 9.788466, None),
        (0.05, 19.256168, None),
        (0.02, 47.7732, 21.726),
        (0.01, 95.4593, 45.414),
    ],
)
def test_a_far_pair_is_not_capped(framework, dtype, temperature, value, norm):
    """N6, N7: log(p + tiny) stops at 44.9 and halves the gradient."""
    rows = at_angles(0, math.radians(150), math.radians(5))
    fields = {"denominator": "own_positive", "average": "pairs", "temperature": temperature}
    got, gradients = check(framework, "SupCon", [rows], [0, 0, 1], dtype=dtype, **fields)
    assert abs(float(got) - value) < 6e-5 + 1e-6 / temperature
    if norm is not None:
        assert abs(np.linalg.norm(framework.read(gradients[0])[0]) - norm) < 6e-3


def test_the_hardest_pair_keeps_its_gradient(framework, dtype):
    """N8: pairs of 199.995 and 0.6957."""
    rows = at_angles(0, math.pi, 0.01)
    fields = {"denominator": "own_positive", "average": "pairs", "temperature": 0.01}
    value, gradients = check(framework, "SupCon", [rows], [0, 0, 1], dtype=dtype, **fields)
    assert abs(float(value) - 100.345) < 6e-4
    # Opposite unit rows: moving along the circle is second order, off it has no effect.
    want = truth("SupCon", [rows], [0, 0, 1], **fields).gradients[0]
    assert abs(want[0, 1]) > 0.4
    assert abs(framework.read(gradients[0])[0, 1] / want[0, 1] - 1) < 1e-3


@pytest.mark.parametrize("loss", [20.0, 200.0])
def test_an_underflowing_probability(framework, dtype, loss):
    """N9: p = exp(-loss) / (1 + exp(-loss)), and its logit still has slope 1."""
    query, positive, negative = [[1.0]], [[-loss]], [[0.0]]
    fields = {"similarity": "dot", "temperature": 1.0}
    inputs = [query, positive, negative]
    value, gradients = check(framework, "InfoNCE", inputs, dtype=dtype, **fields)
    assert abs(float(value) - loss) < 1e-5 * loss
    np.testing.assert_allclose(framework.read(gradients[1]), -1, rtol=1e-6)
    for half in framework.half_dtypes:
        value, gradients = check(framework, "InfoNCE", inputs, dtype=half, **fields)
        assert abs(float(value) - loss) < 1e-5 * loss
        np.testing.assert_allclose(framework.read(gradients[1]), -1, rtol=1e-2)


def test_a_loss_of_a_hundred_millionth(framework, dtype):
    """N10: the positive stands at 20, seven negatives at 0; log1p(7 exp(-20)) keeps its digits."""
    near, far, other = [1.0, 0, 0], [0.1, math.sqrt(0.99), 0], [0, 0, 1.0]
    want = math.log1p(7 * math.exp(-20))
    arrays = [framework.asarray(x, dtype) for x in ([near], [far], 7 * [other])]
    got = nf.InfoNCE(temperature=0.005)(*arrays)
    assert abs(float(got) / want - 1) < {"float32": 2e-5, "float64": 1e-10}[dtype]
    loss = nf.SupCon(denominator="own_positive", temperature=0.005, reduction="none")
    rows = framework.asarray([near, near, far, *(7 * [other])], dtype)
    labels = framework.labels([0, 0, 0, *range(1, 8)])
    first = framework.read(loss(rows, labels))[0]
    assert abs(2 * first / want - 1) < {"float32": 2e-5, "float64": 1e-10}[dtype]


def test_far_rows_under_a_distance(framework, dtype):
    """N11: ten rows, all 400 apart: the zero on the diagonal must not be the maximum."""
    rows = np.eye(10) * 400 / math.sqrt(2)
    fields = {"similarity": "neg_euclidean", "temperature": 2.0}
    value, _ = check(framework, "SupCon", [rows], [0] * 10, dtype=dtype, **fields)
    assert abs(float(value) - math.log(9)) < 1e-4
    check(framework, "SupCon", [rows], [0] * 5 + [1] * 5, dtype=dtype, **fields)
    # Rank-N-Contrast, with every target equal: the published code gives -inf here.
    value, _ = check(framework, "SupCR", [rows], [3.0] * 10, dtype=dtype)
    assert abs(float(value) - 2.1972246) < 1e-4


@pytest.mark.parametrize("order", ["farther", "nearer"])
def test_far_rows_with_targets_of_their_own(framework, dtype, order):
    """Rows a thousand times as long: logits of 1e3 apart, nothing of which may underflow."""
    rows = 1000 * normal(8, 3).astype(np.float32)
    targets = [0.5, 1.0, 2.0, 1.0, 4.0, 0.0, 3.5, 2.0]
    value = supcr.supcr(rows.tolist(), targets, order=order)
    assert math.isfinite(value)
    want = truth("SupCR", [rows], targets, value=value, order=order)
    check(framework, "SupCR", [rows], targets, dtype=dtype, want=want, order=order)


@pytest.mark.parametrize("temperature", [0.02, 1e-3])
def test_every_estimate_is_at_its_floor(framework, dtype, temperature):
    """exp(-1 / temperature) is 0 in float32 and then in float64; the loss and its slope are not."""
    views = [(np.eye(6, 8) + 0.05 * x).astype(np.float32) for x in normal(2, 6, 8)]
    found = hcl.estimates(*(x.tolist() for x in views), temperature=temperature)
    assert all(raw < floor for _, raw, floor in found)
    check(framework, "HCL", views, dtype=dtype, temperature=temperature)
    # Opposite pairs: the positive stands 2 / temperature below its best.
    rows = np.array([[1.0, 0.1], [0.2, 1.0]], dtype=np.float32)
    value, _ = check(framework, "HCL", [rows, -rows], dtype=dtype, temperature=temperature)
    assert float(value) > 0.9 / temperature


@pytest.mark.parametrize("name", ["HCL", "DCL", "CLIP", "SigLIP", "SupCR", "Triplet"])
def test_a_collapsed_batch(framework, dtype, name):
    """Every row the same: chance level, and a gradient of rounding alone, not NaN."""
    rows = np.tile([[0.6, 0.8]], (6, 1))
    loss = getattr(nf, name)
    inputs = [rows] * len({*loss.embeddings} - {*loss.optional})
    labels = [[0.0, 1, 3, 7, 15, 31]] if name == "SupCR" else []
    value, _ = check(framework, name, inputs, *labels, dtype=dtype)
    chance = {
        "DCL": math.log(10),
        "CLIP": math.log(6),
        "SupCR": math.log(math.factorial(5)) / 5,
        "Triplet": 0.2,
    }
    if name in chance:
        # Float32 logits of 1 / temperature are known to 1e-6.
        assert abs(float(value) - chance[name]) < 1e-5


def test_self_is_left_out_at_low_temperature(framework, dtype):
    """N12: a mask of log(1e-45) leaves self a logit of 96 at temperature 0.005."""
    a, b = normal(2, 4, 8)
    check(framework, "NTXent", [a, b], dtype=dtype, temperature=0.005, denominator="negatives")


@pytest.mark.parametrize("similarity", ["neg_euclidean", "neg_sqeuclidean", "cosine", "dot"])
def test_duplicates(framework, dtype, similarity):
    """N16, N21: a zero distance is ordinary and has the gradient zero, not NaN."""
    rows = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    want = truth("NTXent", [rows, rows], cancels=False, similarity=similarity)
    arrays = [framework.asarray(rows, dtype) for _ in "ab"]
    value, gradients = framework.differentiate(nf.NTXent(similarity=similarity), arrays)
    assert_value(framework, value, want, dtype)
    assert_gradients(framework, gradients, want, dtype)
    check(framework, "SupCon", [np.tile(rows[:1, :3], (4, 1))], [0, 0, 1, 1], dtype=dtype)


@pytest.mark.parametrize("similarity", ["neg_euclidean", "neg_sqeuclidean", "cosine", "dot"])
@pytest.mark.parametrize("name", ["HCL", "DCL", "CLIP", "SigLIP", "SupCR"])
def test_duplicates_in_other_losses(framework, dtype, name, similarity):
    """Within an input, and of one input in the other."""
    rows = normal(7, 12).astype(np.float32)
    rows[[2, 5]] = rows[0]
    fields = {"similarity": similarity, "temperature": 2.0}
    if name == "SupCR":
        check(framework, name, [rows], [0.5, 1, 0.5, 2, 2, 7, 1], dtype=dtype, **fields)
    else:
        check(framework, name, [rows, rows], dtype=dtype, **fields)


@pytest.mark.parametrize("similarity", ["neg_euclidean", "neg_sqeuclidean"])
def test_the_same_row_everywhere(framework, dtype, similarity):
    """All distances zero: log(n - 1), no gradient at all."""
    rows = framework.asarray(np.tile([[3.0, -7.0, 11.0]], (5, 1)), dtype)
    loss = nf.SupCon(similarity=similarity)
    value, (gradient,) = loss.value_and_grad(rows, framework.labels([0, 0, 0, 1, 1]))
    assert abs(float(value) - math.log(4)) < 1e-6
    assert (framework.read(gradient) == 0).all()


def test_zero_rows_under_cosine(framework, dtype):
    """N25: no direction, similarity 0 to everything, gradient 0 (not 1e12)."""
    rows = normal(6, 3)
    rows[[1, 4]] = 0
    for denominator in ("all", "own_positive", "negatives"):
        _, (gradient,) = check(
            framework, "SupCon", [rows], [0, 0, 1, 1, 0, 2], dtype=dtype, denominator=denominator
        )
        assert (framework.read(gradient)[[1, 4]] == 0).all()
    for name in ("NTXent", "InfoNCE"):
        _, gradients = check(framework, name, [rows, rows[::-1]], dtype=dtype)
        assert (framework.read(gradients[0])[[1, 4]] == 0).all()
    for name in ("HCL", "DCL", "CLIP", "SigLIP"):
        _, gradients = check(framework, name, [rows, rows[::-1]], dtype=dtype, temperature=0.5)
        assert (framework.read(gradients[0])[[1, 4]] == 0).all()
    targets = [0.5, 1, 0.5, 2, 7, 1]
    _, (gradient,) = check(framework, "SupCR", [rows], targets, dtype=dtype, similarity="cosine")
    assert (framework.read(gradient)[[1, 4]] == 0).all()
    triplet = [rows, rows[::-1], normal(6, 3)]
    _, gradients = check(framework, "Triplet", triplet, dtype=dtype, distance="cosine", margin=2.0)
    assert (framework.read(gradients[0])[[1, 4]] == 0).all()
    check(framework, "SupCon", [np.zeros((4, 3))], [0, 0, 1, 1], dtype=dtype)
    check(framework, "NTXent", [rows, rows[::-1]], dtype=dtype, include_self=True)


def test_zero_rows_of_other_similarities(framework, dtype):
    rows = normal(6, 3)
    rows[[1, 4]] = 0
    for similarity in ("dot", "neg_euclidean", "neg_sqeuclidean"):
        check(framework, "SupCon", [rows], [0, 0, 1, 1, 0, 2], dtype=dtype, similarity=similarity)
        fields = {"dtype": dtype, "similarity": similarity, "temperature": 0.5}
        for name in ("HCL", "DCL", "CLIP", "SigLIP"):
            check(framework, name, [rows, rows[::-1]], about=name, **fields)
        check(framework, "SupCR", [rows], [0.5, 1, 0.5, 2, 7, 1], **fields)


def test_matching_pairs_at_logit_scale_one_hundred(framework, dtype):
    """N27."""
    x = normal(16, 8)
    for name in ("InfoNCE", "CLIP", "SigLIP"):
        check(framework, name, [x, x], dtype=dtype, about=name, temperature=0.01)


def test_an_upstream_factor(framework, dtype):
    """N28: three times the loss has three times the gradient."""
    a, b = (framework.asarray(x, dtype) for x in normal(2, 4, 3))
    _, once = framework.differentiate(nf.NTXent(), [a, b])
    _, thrice = framework.differentiate(nf.NTXent(), [a, b], upstream=3.0)
    _, scaled = framework.differentiate(nf.NTXent(scale=3.0), [a, b])
    for one, three, also in zip(once, thrice, scaled, strict=True):
        want = 3 * framework.read(one)
        np.testing.assert_allclose(framework.read(three), want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(framework.read(also), want, rtol=1e-5, atol=1e-6)


def test_a_side_of_small_rows_does_not_vouch_for_the_other(framework, dtype):
    """Its products with large ones pass exp, though its own with itself are far below."""
    small, large = np.array([[0.1, 0.0], [0.02, 0.1]]), np.array([[900.0, 50.0], [0.0, 8e3]])
    for sides in ([small, large], [large, small]):
        check(framework, "CLIP", sides, dtype=dtype, similarity="dot", temperature=1.0)


def test_far_clusters_are_farther_from_each_other_than_from_the_centre(framework, dtype):
    """Squared distances of 4 x 36, whose exponentials are 0 in float32."""
    a = np.array([[6.0, 0.0], [-6.0, 0.5]])
    fields = {"similarity": "neg_sqeuclidean", "temperature": 1.0, "denominator": "negatives"}
    check(framework, "NTXent", [a, a + 0.3], dtype=dtype, **fields)
