"""Bad input: what was expected, what was received, which argument."""

import numpy as np
import pytest
import torch

import nearfar as nf

RNG = np.random.default_rng(81)
X = RNG.normal(size=(5, 3))
LABELS = [0, 1, 0, 1, 1]


def holding(value, row):
    x = X.copy()
    x[row, 1] = value
    return x


# -- fields --------------------------------------------------------------------------------------


WITH_TEMPERATURE = ["NTXent", "InfoNCE", "SupCon", "HCL", "DCL", "CLIP", "SigLIP", "SupCR"]


@pytest.mark.parametrize("name", WITH_TEMPERATURE)
@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan"), float("inf")])
def test_temperature(name, temperature):
    with pytest.raises(ValueError, match=rf"temperature.*{temperature}"):
        getattr(nf, name)(temperature=temperature)


@pytest.mark.parametrize("temperature", ["0.1", None, [0.1]])
def test_temperature_is_a_number(temperature):
    with pytest.raises((TypeError, ValueError), match="temperature"):
        nf.NTXent(temperature=temperature)


@pytest.mark.parametrize(
    ("name", "field", "allowed"),
    [
        ("NTXent", "similarity", ["cosine", "dot", "neg_euclidean", "neg_sqeuclidean"]),
        ("NTXent", "denominator", ["all", "own_positive", "negatives"]),
        ("InfoNCE", "reduction", ["mean", "sum", "none"]),
        ("SupCon", "positives", ["mean_log", "sum_log", "log_mean", "log_sum"]),
        ("SupCon", "without_positives", ["skip", "zero"]),
        ("SupCon", "average", ["anchors", "pairs"]),
        ("HCL", "similarity", ["cosine", "dot", "neg_euclidean", "neg_sqeuclidean"]),
        ("SupCR", "order", ["farther", "nearer"]),
        ("SupCR", "label_distance", ["l1", "l2"]),
        ("Triplet", "distance", ["sqeuclidean", "euclidean", "cityblock", "cosine", "hamming"]),
        ("CLIP", "reduction", ["mean", "sum", "none"]),
    ],
)
def test_unknown_values_list_the_allowed_ones(name, field, allowed):
    with pytest.raises(ValueError, match=field) as caught:
        getattr(nf, name)(**{field: "evry"})
    assert all(word in str(caught.value) for word in ["evry", *allowed])


@pytest.mark.parametrize(
    ("name", "field", "value", "allowed"),
    [
        ("HCL", "tau_plus", 1, "from 0 .* below 1"),
        ("HCL", "tau_plus", -0.1, "from 0 .* below 1"),
        ("HCL", "beta", -1, "from 0 on"),
        ("HCL", "beta", float("inf"), "finite"),
        ("Triplet", "margin", -0.1, "from 0 on"),
        ("Triplet", "margin", float("nan"), "finite"),
        ("SigLIP", "bias", float("nan"), "finite"),
        ("SigLIP", "bias", float("-inf"), "finite"),
    ],
)
def test_numbers_out_of_range(name, field, value, allowed):
    with pytest.raises(ValueError, match=rf"{field}.*{allowed}.*received {value}"):
        getattr(nf, name)(**{field: value})


@pytest.mark.parametrize(
    ("name", "field"),
    [("HCL", "tau_plus"), ("HCL", "beta"), ("Triplet", "margin"), ("SigLIP", "bias")],
)
@pytest.mark.parametrize("value", ["0.1", None, True, [0.1]], ids=repr)
def test_numbers_of_another_type(name, field, value):
    with pytest.raises(TypeError, match=field):
        getattr(nf, name)(**{field: value})


def test_detach_weights_is_a_bool():
    with pytest.raises(ValueError, match="detach_weights"):
        nf.HCL(detach_weights=1)


@pytest.mark.parametrize("positives", ["sum_log", "log_mean", "log_sum"])
def test_pairs_are_averaged_as_logarithms(positives):
    with pytest.raises(ValueError, match=r"(?s)(pairs.*mean_log|mean_log.*pairs)") as caught:
        nf.SupCon(average="pairs", positives=positives)
    assert positives in str(caught.value)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_scale(scale):
    with pytest.raises(ValueError, match="scale"):
        nf.NTXent(scale=scale)


def test_include_self_is_a_bool():
    with pytest.raises((TypeError, ValueError), match="include_self"):
        nf.NTXent(include_self="no")


@pytest.mark.parametrize(
    "options",
    [{"tile": 0}, {"tile": -3}, {"memory": -1}, {"workers": 0}, {"check_finite": "no"}],
)
def test_options(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        nf.NTXent().with_options(**options)


def test_options_that_numpy_computed():
    tile, memory, workers = np.array([3, 2**20, 1])
    loss = nf.NTXent().with_options(tile=tile, memory=memory, workers=workers)
    assert loss.options == nf.NTXent().with_options(tile=3, memory=2**20, workers=1).options


def test_unknown_option():
    with pytest.raises(TypeError, match="tiles"):
        nf.NTXent().with_options(tiles=3)


# -- shapes --------------------------------------------------------------------------------------


def test_embeddings_of_one_axis(framework):
    x = framework.asarray(X[0])
    with pytest.raises(ValueError, match=r"embeddings.*\(3,\)"):
        nf.SupCon()(x, framework.labels([0, 1, 0]))
    with pytest.raises(ValueError, match=r"\ba\b.*\(3,\)"):
        nf.NTXent()(x, x)


def test_views_of_unequal_shape(framework):
    a = framework.asarray(X)
    for other, shape in ((X[:4], r"\(4, 3\)"), (X[:, :2], r"\(5, 2\)")):
        b = framework.asarray(other)
        with pytest.raises(ValueError, match=rf"(?s)\bb\b.*{shape}|{shape}.*\bb\b"):
            nf.NTXent()(a, b)
        with pytest.raises(ValueError, match=rf"(?s)positive.*{shape}|{shape}.*positive"):
            nf.InfoNCE()(a, b)
        for name in ("HCL", "DCL"):
            with pytest.raises(ValueError, match=rf"\ba and b\b.*{shape}"):
                getattr(nf, name)()(a, b)
        for name in ("CLIP", "SigLIP"):
            with pytest.raises(ValueError, match=rf"\bx and y\b.*{shape}"):
                getattr(nf, name)()(a, b)
        with pytest.raises(ValueError, match=rf"anchor and positive.*{shape}"):
            nf.Triplet()(a, b, a)
        with pytest.raises(ValueError, match=rf"anchor and negative.*{shape}"):
            nf.Triplet()(a, a, b)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("HCL", "a, b, ids=None"),
        ("CLIP", "x, y, ids=None"),
        ("Triplet", "anchor, positive, negative"),
    ],
)
def test_number_of_inputs(framework, name, given):
    x, most = framework.asarray(X), given.count(",") + 1
    for wrong in (most - given.count("=") - 1, most + 1):
        with pytest.raises(TypeError, match=rf"{name} is called with \({given}\).*{wrong} inputs"):
            getattr(nf, name)()(*[x] * wrong)


@pytest.mark.parametrize("shape", [(6, 4), (5, 2, 4), (4, 2, 3), (3,)], ids=str)
def test_negatives(framework, shape):
    """Another width, another number of queries, no rows."""
    q, k = framework.asarray(X), framework.asarray(X + 1)
    negatives = framework.asarray(np.ones(shape))
    with pytest.raises(ValueError, match="negatives") as caught:
        nf.InfoNCE()(q, k, negatives)
    assert str(shape) in str(caught.value)


def test_labels_of_another_length(framework):
    with pytest.raises(ValueError, match=r"(?s)labels.*4"):
        nf.SupCon()(framework.asarray(X), framework.labels(LABELS[:4]))
    with pytest.raises(ValueError, match=r"(?s)labels.*\(4, 2\)"):
        nf.SupCon()(framework.asarray(X), framework.labels(np.ones((4, 2), dtype=int)))


@pytest.mark.parametrize("fill", [LABELS, [1] * 5], ids=["classes", "ones"])
def test_a_column_of_labels(framework, fill):
    column = framework.labels(np.reshape(fill, (5, 1)))
    with pytest.raises(ValueError, match=r"labels\.ravel\(\)"):
        nf.SupCon()(framework.asarray(X), column)


def test_labels_of_three_axes(framework):
    with pytest.raises(ValueError, match=r"labels.*\(5, 1, 2\)"):
        nf.SupCon()(framework.asarray(X), framework.labels(np.ones((5, 1, 2), dtype=int)))


@pytest.mark.parametrize("entry", [2, -1, 0.5])
def test_multi_hot_labels_are_zeros_and_ones(framework, entry):
    labels = np.zeros((5, 3), dtype=type(entry))
    labels[:, 0] = 1
    labels[3, 1] = entry
    with pytest.raises(ValueError, match=r"(?s)labels.*0.*1"):
        nf.SupCon()(framework.asarray(X), framework.labels(labels))


@pytest.mark.parametrize(
    "shape", [(4,), (6,), (4, 2), (1, 5), (5, 1, 2), (5, 0), ()], ids=lambda shape: str(shape)
)
def test_targets_of_another_shape(framework, shape):
    targets = framework.labels(np.zeros(shape))
    with pytest.raises(ValueError, match=r"targets of shape \(5,\)") as caught:
        nf.SupCR()(framework.asarray(X), targets)
    assert str(shape) in str(caught.value)


def test_empty_batch(framework):
    empty = framework.asarray(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"\ba\b.*\(0, 3\)"):
        nf.NTXent()(empty, empty)
    with pytest.raises(ValueError, match=r"embeddings.*\(0, 3\)"):
        nf.SupCon()(empty, framework.labels(np.zeros(0, dtype=int)))
    with pytest.raises(ValueError, match=r"query.*\(0, 3\)"):
        nf.InfoNCE()(empty, empty)
    with pytest.raises(ValueError, match=r"\bx\b.*\(0, 3\)"):
        nf.CLIP()(empty, empty)
    with pytest.raises(ValueError, match=r"anchor.*\(0, 3\)"):
        nf.Triplet()(empty, empty, empty)
    with pytest.raises(ValueError, match=r"embeddings.*\(0, 3\)"):
        nf.SupCR()(empty, framework.labels(np.zeros(0)))


def test_no_features(framework):
    flat = framework.asarray(np.zeros((5, 0)))
    with pytest.raises(ValueError, match=r"embeddings.*\(5, 0\)"):
        nf.SupCon()(flat, framework.labels(LABELS))


# -- types ---------------------------------------------------------------------------------------


def test_frameworks_do_not_mix():
    with pytest.raises(TypeError, match=r"(?s)numpy.*torch|torch.*numpy") as caught:
        nf.NTXent()(X, torch.tensor(X))
    assert "b" in str(caught.value)
    with pytest.raises(TypeError, match=r"(?s)numpy.*torch|torch.*numpy") as caught:
        nf.InfoNCE()(torch.tensor(X), torch.tensor(X), X)
    assert "negatives" in str(caught.value)


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
def test_torch_integers(kind):
    x = torch.ones((5, 3), dtype=getattr(torch, kind))
    with pytest.raises(TypeError, match=f"(?s)embeddings.*{kind}"):
        nf.SupCon()(x, torch.tensor(LABELS))


@pytest.mark.parametrize("kind", ["complex128", "object", "U3"])
def test_numpy_dtypes_that_are_no_numbers(kind):
    with pytest.raises(TypeError, match=r"embeddings") as caught:
        nf.SupCon()(X.astype(kind), LABELS)
    assert {"U3": "U"}.get(kind, kind) in str(caught.value)


@pytest.mark.parametrize(
    "make", [torch.Tensor.to_sparse, lambda x: torch.nested.nested_tensor([x])], ids=["s", "n"]
)
# PyTorch tells that it may change nested tensors.
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_torch_without_rows_of_entries(make):
    with pytest.raises(TypeError, match=r"a to be a dense torch array.*to_dense"):
        nf.NTXent()(make(torch.ones(4, 3)), torch.ones(4, 3))


def test_torch_complex():
    with pytest.raises(TypeError, match=r"(?s)\ba\b.*complex128"):
        nf.NTXent()(torch.tensor(X) + 0j, torch.tensor(X))


@pytest.mark.parametrize(
    "targets",
    [
        [*"abcde"],
        np.array(LABELS) + 1j,
        np.array(LABELS, dtype=object),
        np.array(LABELS).astype("datetime64[D]"),
    ],
    ids=["text", "complex", "objects", "dates"],
)
def test_targets_that_are_no_numbers(framework, targets):
    dtype = np.asarray(targets).dtype
    with pytest.raises(TypeError, match="targets to hold real numbers") as caught:
        nf.SupCR()(framework.asarray(X), targets)
    assert str(dtype) in str(caught.value)


def test_complex_targets_of_torch():
    with pytest.raises(TypeError, match=r"targets to hold real numbers.*complex128"):
        nf.SupCR()(torch.tensor(X), torch.tensor(LABELS) + 0j * torch.tensor(X[:, 0]))


def test_ragged_list():
    with pytest.raises((TypeError, ValueError), match="embeddings"):
        nf.SupCon()([[1.0, 2.0], [1.0]], [0, 0])
    with pytest.raises(ValueError, match="labels to have rows of equal length"):
        nf.SupCon()([[1.0, 2.0], [1.0, 0.0]], [[0, 1], [0]])


def test_value_and_grad_needs_a_number(framework):
    loss = nf.SupCon(reduction="none")
    with pytest.raises(ValueError, match=r"(?s)reduction.*none"):
        loss.value_and_grad(framework.asarray(X), framework.labels(LABELS))


def test_temperature_at_the_call(framework):
    a = framework.asarray(X)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature"):
            nf.NTXent()(a, a, temperature=bad)
    with pytest.raises(ValueError, match=r"temperature.*\(2,\)"):
        nf.NTXent()(a, a, temperature=framework.asarray([0.1, 0.2]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_bias_at_the_call(framework, value):
    x = framework.asarray(X)
    for bias in (value, framework.asarray(value)):
        with pytest.raises(ValueError, match=rf"bias.*finite.*{value}"):
            nf.SigLIP()(x, x, bias=bias)
    with pytest.raises(ValueError, match=r"bias.*\(2,\)"):
        nf.SigLIP()(x, x, bias=framework.asarray([0.1, 0.2]))


@pytest.mark.parametrize(
    ("name", "keyword"),
    [
        ("Triplet", "temperature"),
        ("Triplet", "margin"),
        ("CLIP", "bias"),
        ("NTXent", "bias"),
        ("HCL", "tau_plus"),
        ("HCL", "beta"),
    ],
)
def test_what_a_call_does_not_replace(framework, name, keyword):
    inputs = [framework.asarray(X)] * len(getattr(nf, name).embeddings)
    for call in (getattr(nf, name)(), getattr(nf, name)().value_and_grad):
        with pytest.raises(TypeError, match=rf"{name}.*{keyword}"):
            call(*inputs, **{keyword: 0.5})


@pytest.mark.parametrize(("name", "field"), [("Triplet", "temperature"), ("CLIP", "bias")])
def test_fields_of_other_losses(name, field):
    with pytest.raises(TypeError, match=field):
        getattr(nf, name)(**{field: 0.5})


def test_temperature_of_another_framework():
    with pytest.raises(TypeError, match="temperature"):
        nf.NTXent()(X, X, temperature=torch.tensor(0.5))


# -- NaN and infinity ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numpy_names_the_first_bad_row(value):
    bad = holding(value, 3)
    bad[4, 0] = value
    with pytest.raises(ValueError, match=r"(?s)embeddings.*row 3"):
        nf.SupCon()(bad, LABELS)
    with pytest.raises(ValueError, match=r"(?s)\bb\b.*row 3"):
        nf.NTXent().value_and_grad(X, bad)
    with pytest.raises(ValueError, match=r"(?s)negatives.*row 3"):
        nf.InfoNCE()(X, X, bad)
    with pytest.raises(ValueError, match=r"(?s)negatives.*row 3"):
        nf.InfoNCE()(X, X, bad[:, None, :])
    with pytest.raises(ValueError, match=r"(?s)\ba\b.*row 3"):
        nf.NTXent()(np.stack([bad, X], 1), np.stack([X, X], 1))
    for name, inputs in {
        "b": (nf.HCL(), X, bad),
        "y": (nf.CLIP(), X, bad),
        "x": (nf.SigLIP(), bad, X),
        "positive": (nf.Triplet(), X, bad, X),
        "negative": (nf.Triplet(), X, X, bad),
        "embeddings": (nf.SupCR(), bad, LABELS),
        "targets": (nf.SupCR(), X, bad[:, 1]),
    }.items():
        loss, *inputs = inputs
        with pytest.raises(ValueError, match=rf"expected {name} to be finite.*row 3"):
            loss(*inputs)
    with pytest.raises(ValueError, match=r"expected targets to be finite.*row 3"):
        nf.SupCR().value_and_grad(X, bad)


def test_numpy_unchecked():
    """Asked not to look, NumPy lets a NaN through, without a warning."""
    loss = nf.SupCon().with_options(check_finite=False)
    assert np.isnan(loss(holding(np.nan, 3), LABELS))
    value, (gradient,) = loss.value_and_grad(holding(np.nan, 3), LABELS)
    assert np.isnan(value)
    assert np.isnan(gradient[3]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("similarity", ["cosine", "dot", "neg_euclidean", "neg_sqeuclidean"])
def test_torch_lets_them_through(value, similarity):
    """A mixed-precision scaler looks for them in the gradient: they must arrive there."""
    calls = [
        lambda x: nf.SupCon(similarity=similarity)(x, torch.tensor(LABELS)),
        lambda x: nf.SupCon(similarity=similarity, denominator="own_positive")(x, LABELS),
        lambda x: nf.NTXent(similarity=similarity)(x, torch.tensor(X)),
        lambda x: nf.InfoNCE(similarity=similarity)(x, torch.tensor(X)),
        lambda x: nf.DCL(similarity=similarity)(x, torch.tensor(X)),
        lambda x: nf.CLIP(similarity=similarity)(x, torch.tensor(X)),
        lambda x: nf.SupCR(similarity=similarity)(x, LABELS),
        lambda x: nf.Triplet()(x, torch.tensor(X), torch.tensor(X) + 1),
    ]
    if np.isnan(value):
        # A pair of SigLIP may be infinitely wrong, at a slope of 1.
        calls += [
            lambda x: nf.HCL(similarity=similarity)(x, torch.tensor(X)),
            lambda x: nf.SigLIP(similarity=similarity)(x, torch.tensor(X)),
        ]
    for call in calls:
        x = torch.tensor(holding(value, 3), requires_grad=True)
        result = call(x)
        assert not result.isfinite()
        (gradient,) = torch.autograd.grad(result, x)
        assert not gradient.isfinite().all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_torch_lets_every_embedding_of_a_triplet_through(value):
    """An infinitely far negative keeps the margin, and would go unseen as a loss of 0."""
    for argument in range(3):
        inputs = [torch.tensor(X), torch.tensor(X) + 1, torch.tensor(X) + 9]
        inputs[argument] = torch.tensor(holding(value, 3))
        result, gradients = nf.Triplet().value_and_grad(*inputs)
        assert not result.isfinite()
        assert not gradients[argument].isfinite().all()


def test_torch_checks_on_request():
    loss = nf.SupCon().with_options(check_finite=True)
    with pytest.raises(ValueError, match=r"(?s)embeddings.*row 3"):
        loss(torch.tensor(holding(np.inf, 3)), torch.tensor(LABELS))
    assert torch.isfinite(loss(torch.tensor(X), torch.tensor(LABELS)))
    loss = nf.SupCR().with_options(check_finite=True)
    with pytest.raises(ValueError, match=r"targets.*row 3"):
        loss(torch.tensor(X), torch.tensor(holding(np.inf, 3)))


@pytest.mark.parametrize("option", ["tile", "memory", "workers"])
def test_true_is_no_number(option):
    with pytest.raises(TypeError, match=f"expected {option} to be a whole number above 0"):
        nf.SupCon().with_options(**{option: True})


def test_wrt_is_not_counted_from_the_end():
    x = np.eye(3)
    with pytest.raises(ValueError, match="expected wrt to hold numbers of embedding arguments"):
        nf.NTXent().value_and_grad(x, x, wrt=-1)


def test_longer_floats_are_refused():
    """Where they are no other name of float64."""
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("the same here")
    with pytest.raises(TypeError, match="expected embeddings to hold real numbers"):
        nf.SupCon()(np.eye(3, dtype=np.longdouble), [0, 0, 1])


def test_unlabelled_and_untold_rows_pass_unchecked():
    """NaN equals nothing, so that its row is nobody's positive; it has no rank among numbers."""
    x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    supcon, supcr = (loss.with_options(check_finite=False) for loss in (nf.SupCon(), nf.SupCR()))
    assert supcon(x, [0.0, 0.0, np.nan, np.nan]) == nf.SupCon()(x, [0, 0, 1, 2])
    assert np.isnan(supcr(x, [0.5, 1.0, np.nan, 2.0]))


def test_targets_of_true_and_false_are_one_apart():
    x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    assert nf.SupCR()(x, [True, False, False, True]) == nf.SupCR()(x, [1, 0, 0, 1])
