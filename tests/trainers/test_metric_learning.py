"""Losses called as pytorch-metric-learning's: by labels, and by pairs or triplets that are listed.

The reference goes over the lists one by one, in float64.
"""

import copy
import importlib
import pickle
import warnings
from itertools import product

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.torch import PMLLoss

N, M, D = 6, 9, 5
UPSTREAM = 1.7


def rows(seed=3, n=N, m=M):
    rng = np.random.default_rng(seed)
    return tuple(torch.tensor(rng.normal(size=(k, D)), requires_grad=True) for k in (n, m))


def pairs(seed=5):
    """A part of all pairs; row 0 has no positive, row 1 no negative, row 2 neither."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, size=(N, M))
    kind[0][kind[0] == 1] = 0
    kind[1][kind[1] == 2] = 0
    kind[2] = 0
    kind[3] = [1, 2, 0, 0, 0, 0, 0, 0, 2]
    one, two = np.argwhere(kind == 1), np.argwhere(kind == 2)
    rng.shuffle(one)
    columns = one[:, 0], one[:, 1], two[:, 0], two[:, 1]
    return tuple(torch.tensor(x.copy()) for x in columns)


def triplets(listed=None):
    a, p, b, n = pairs() if listed is None else listed
    found = [
        (i, j, k) for i, j in zip(a, p, strict=True) for x, k in zip(b, n, strict=True) if i == x
    ]
    return tuple(torch.tensor([t[c] for t in found]) for c in range(3))


def once(listed):
    """The pairs of triplets, each once."""
    a, p, n = (t.tolist() for t in listed)
    found = (torch.tensor(sorted(set(zip(a, x, strict=True)))) for x in (p, n))
    return tuple(x for one in found for x in one.T)


def measured(name):
    def euclidean(x, y):
        return ((x - y) ** 2).sum() ** 0.5

    def cosine(x, y):
        return (x * y).sum() / ((x**2).sum() * (y**2).sum()) ** 0.5

    return {
        "cosine": cosine,
        "dot": lambda x, y: (x * y).sum(),
        "neg_euclidean": lambda x, y: -euclidean(x, y),
        "euclidean": euclidean,
        "sqeuclidean": lambda x, y: ((x - y) ** 2).sum(),
    }[name]


def supcon(loss, x, y, listed):
    a, p, b, q = (t.tolist() for t in listed)
    similar = measured(loss.similarity)
    values, counts, counted = [], [], []
    for i in range(len(x)):
        near = [similar(x[i], y[j]) / loss.temperature for k, j in zip(a, p, strict=True) if k == i]
        far = [similar(x[i], y[j]) / loss.temperature for k, j in zip(b, q, strict=True) if k == i]
        usable = bool(near) and (loss.denominator != "negatives" or bool(far))
        terms = []
        for s in near if usable else []:
            others = {"all": near + far, "own_positive": [s, *far], "negatives": far}
            terms.append(s - torch.stack(others[loss.denominator]).exp().sum().log())
        counts.append(len(near))
        counted.append(usable)
        if not usable:
            values.append(torch.zeros((), dtype=x.dtype))
            continue
        terms = torch.stack(terms)
        values.append(
            {
                "mean_log": lambda t: -t.mean(),
                "sum_log": lambda t: -t.sum(),
                "log_mean": lambda t: -t.exp().mean().log(),
                "log_sum": lambda t: -t.exp().sum().log(),
            }[loss.positives](terms)
        )
    values = torch.stack(values)
    weights = torch.tensor(counts if loss.average == "pairs" else [1.0] * len(x)).double()
    weights = weights * torch.tensor(counted)
    if loss.reduction == "none":
        return loss.scale * weights * values
    total = len(x) if loss.without_positives == "zero" else weights.sum()
    divisor = total if loss.reduction == "mean" else 1
    return loss.scale * (weights * values).sum() / divisor


def triplet(loss, x, y, listed):
    d = measured(loss.distance)
    each = [[] for _ in x]
    for i, j, k in zip(*(t.tolist() for t in listed), strict=True):
        each[i].append((d(x[i], y[j]) - d(x[i], y[k]) + loss.margin).clamp(min=0))
    sums = torch.stack([sum(terms, torch.zeros(()).double()) for terms in each])
    if loss.reduction != "mean":
        return loss.scale * (sums if loss.reduction == "none" else sums.sum())
    terms = [t for one in each for t in one]
    count = len(terms) if loss.count == "all" else sum(bool(t > 0) for t in terms)
    count += sum(not one for one in each) if loss.without_positives == "zero" else 0
    return loss.scale * sums.sum() / count


def pair_margin(loss, x, y, listed):
    a, p, b, q = (t.tolist() for t in listed)
    d = measured(loss.distance)
    each = [[] for _ in x]
    for i, j in zip(a, p, strict=True):
        each[i].append(d(x[i], y[j]) ** 2 / 2)
    for i, j in zip(b, q, strict=True):
        each[i].append((loss.margin - d(x[i], y[j])).clamp(min=0) ** 2 / 2)
    if loss.reduction == "mean":
        return loss.scale * torch.stack([t for one in each for t in one]).mean()
    none = torch.zeros(()).double()
    means = torch.stack([torch.stack(one).mean() if one else none for one in each])
    return loss.scale * (means if loss.reduction == "none" else means.sum())


def agree(ours, theirs, leaves, tolerance=1e-11):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=1e-14)
    upstream = UPSTREAM * torch.arange(1, 1 + ours.numel()).reshape(ours.shape)
    found = (
        torch.autograd.grad(v, leaves, upstream.to(v.dtype), allow_unused=True, retain_graph=True)
        for v in (ours, theirs)
    )
    for one, other in zip(*found, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=tolerance, atol=1e-13)


SUPCON = [
    nf.SupCon(temperature=0.3, denominator=d, positives=p, scale=1.3, reduction=r)
    for d, p, r in product(
        ("all", "own_positive", "negatives"),
        ("mean_log", "sum_log", "log_mean", "log_sum"),
        ("mean", "none"),
    )
] + [
    nf.SupCon(average="pairs"),
    nf.SupCon(denominator="own_positive", average="pairs", reduction="sum"),
    nf.SupCon(without_positives="zero"),
    nf.SupCon(similarity="dot", temperature=0.7),
    nf.SupCon(similarity="neg_euclidean", temperature=0.7),
]


@pytest.mark.parametrize("loss", SUPCON, ids=repr)
def test_supcon_of_listed_pairs(loss):
    x, y = rows()
    agree(PMLLoss(loss)(x, None, pairs(), y), supcon(loss, x, y, pairs()), (x, y))


def test_pairs_within_the_batch_and_triplets_as_pairs():
    x, _ = rows(n=M)
    loss = nf.SupCon(temperature=0.4)
    found = PMLLoss(loss)(x, torch.zeros(M), pairs())
    a, p, b, n = pairs()
    agree(found, supcon(loss, x, x, (a, p, b, n)), (x,))
    agree(PMLLoss(loss)(x, None, triplets()), supcon(loss, x, x, once(triplets())), (x,))


@pytest.mark.parametrize(
    "loss",
    [
        nf.BatchTriplet(margin=0.5),
        nf.BatchTriplet(margin=0.5, count="all", scale=0.7),
        nf.BatchTriplet(margin=0.5, reduction="none", distance="sqeuclidean"),
        nf.BatchTriplet(margin=0.5, without_positives="zero", count="all"),
        nf.BatchTriplet(margin=0.5, reduction="sum"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("as_pairs", [False, True])
def test_listed_triplets_by_anchor(loss, as_pairs):
    x, y = rows()
    listed = pairs() if as_pairs else triplets()
    agree(PMLLoss(loss)(x, None, listed, y), triplet(loss, x, y, triplets()), (x, y))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_given_triplets(reduction):
    x, y = rows()
    loss = nf.Triplet(margin=0.4, reduction=reduction, scale=1.3)
    a, p, n = triplets()
    agree(PMLLoss(loss)(x, None, (a, p, n), y), loss(x[a], y[p], y[n]), (x, y))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_listed_pairs_with_a_margin(reduction):
    x, y = rows()
    loss = nf.PairMargin(margin=3.0, reduction=reduction, scale=0.6)
    agree(PMLLoss(loss)(x, None, pairs(), y), pair_margin(loss, x, y, pairs()), (x, y))


def test_losses_of_losses():
    x, y = rows()
    one, two = nf.SupCon(temperature=0.4), nf.SupCon(similarity="dot", positives="log_sum")
    found = PMLLoss(0.5 * (one + 2.0 * two))(x, None, pairs(), y)
    agree(found, 0.5 * supcon(one, x, y, pairs()) + supcon(two, x, y, pairs()), (x, y))
    found = PMLLoss(nf.Matryoshka(one, dims=(2, 5), weights=(0.3, 2.0)))(x, None, pairs(), y)
    short = 0.3 * supcon(one, x[:, :2], y[:, :2], pairs())
    agree(found, short + 2.0 * supcon(one, x, y, pairs()), (x, y))
    with pytest.raises(ValueError, match="WeightedSum, which needs all rows"):
        PMLLoss(nf.Circle() + nf.Circle(gamma=9.0))(x, None, pairs(), y)


@pytest.mark.parametrize("loss", [nf.SupCon(), nf.BatchTriplet(), nf.PairMargin(), nf.Triplet()])
def test_an_empty_list_is_a_loss_of_zero(loss):
    x, y = rows()
    none = torch.empty(0, dtype=torch.long)
    value = PMLLoss(loss)(x, None, (none,) * 3, y)
    assert value.item() == 0
    for g in torch.autograd.grad(value, (x, y)):
        assert torch.equal(g, torch.zeros_like(g))


def test_rows_that_meet_themselves_have_a_finite_gradient():
    x, _ = rows()
    a, b, c = (torch.tensor(k) for k in ([0, 1], [0, 3], [4, 1]))
    for loss in (nf.PairMargin(), nf.SupCon(similarity="neg_euclidean")):
        value = PMLLoss(loss)(x, None, (a, b, a, c), x.detach())
        assert torch.isfinite(torch.autograd.grad(value, x)[0]).all()


def test_large_logits_keep_their_digits():
    x, y = (z.detach().float().requires_grad_() for z in rows())
    loss = nf.SupCon(temperature=1e-3, denominator="own_positive")
    value = PMLLoss(loss)(x, None, pairs(), y)
    exact = PMLLoss(loss)(x.double(), None, pairs(), y.double())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)


def test_half_precision_and_autocast():
    x, y = (z.detach().to(torch.bfloat16).requires_grad_() for z in rows())
    with torch.autocast("cpu", torch.bfloat16):
        value = PMLLoss(nf.SupCon())(x, None, pairs(), y)
    exact = PMLLoss(nf.SupCon())(x.double(), None, pairs(), y.double())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)
    assert torch.autograd.grad(value, x)[0].dtype == torch.bfloat16


def test_a_gradient_of_the_gradient():
    x, y = rows()
    for loss in (nf.SupCon(temperature=0.6), nf.PairMargin(margin=3.0)):
        assert torch.autograd.gradgradcheck(
            lambda x, y, loss=loss: PMLLoss(loss)(x, None, pairs(), y), (x, y)
        )


LABELS, OTHERS = torch.tensor([3, 1, 2, 2, 7, 1]), torch.tensor([1, 2, 3, 1, 5, 2, 3, 3, 1])


def every_pair():
    """Of rows and candidates by their labels; row 4 has no positive."""
    same = LABELS[:, None] == OTHERS
    return *torch.where(same), *torch.where(~same)


@pytest.mark.parametrize(
    ("loss", "oracle"),
    [
        (nf.SupCon(temperature=0.4), supcon),
        (nf.SupCon(denominator="own_positive", average="pairs", reduction="sum"), supcon),
        (nf.BatchTriplet(margin=0.5), triplet),
        (nf.BatchTriplet(margin=0.5, reduction="none"), triplet),
        (nf.PairMargin(margin=3.0), pair_margin),
    ],
    ids=["mean", "pairs", "triplets", "each", "margin"],
)
def test_candidates_of_a_reference(loss, oracle):
    x, y = rows()
    listed = triplets(every_pair()) if oracle is triplet else every_pair()
    found = PMLLoss(loss)(x, LABELS, ref_emb=y, ref_labels=OTHERS.tolist())
    agree(found, oracle(loss, x, y, listed), (x, y))


def test_a_reference_with_targets():
    x, y = rows()
    found = PMLLoss(nf.SupCR())(x, LABELS.float(), None, y, OTHERS.float())
    want = nf.SupCR()(x, LABELS.float(), reference=y, reference_targets=OTHERS.float())
    assert torch.equal(found, want)


@pytest.mark.parametrize("loss", [nf.SupCon(), nf.BatchTriplet(), nf.PairMargin(), nf.SupCR()])
def test_without_a_list_it_is_the_loss(loss):
    x, _ = rows(n=12)
    labels = torch.arange(12) % 4
    found = PMLLoss(loss)(x, labels)
    assert torch.equal(found, loss(x, labels))
    assert torch.equal(PMLLoss(loss)(embeddings=x, labels=labels.tolist()), found)


def test_it_is_copied_pickled_and_printed():
    module = PMLLoss(nf.SupCon(temperature=0.3))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert isinstance(other, PMLLoss)
        assert other.loss == module.loss
    assert repr(module) == "PMLLoss(SupCon(temperature=0.3))"


A = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("loss", "call", "message"),
    [
        (nf.NTXent(), (), "embeddings and labels.*received NTXent"),
        (nf.Triplet(), (A,), "indices_tuple with Triplet.*use nearfar.BatchTriplet"),
        (nf.SupCon(), (), "labels, or indices_tuple in their place"),
        (nf.SupCon(), (None, (A, A)), "3 tensors, triplets, or of 4, pairs; received 2"),
        (nf.SupCon(), (None, (A, A, A, A)), "name a pair once"),
        (nf.SupCon(include_self=True), (None, (A, A, A)), "use include_self=False"),
        (nf.BatchTriplet(mining="hard"), (None, (A, A, A)), 'mining="hard": use mining="all"'),
        (nf.SupCR(), (None, (A, A, A)), "SupCR, which needs all rows"),
    ],
)
def test_refused(loss, call, message):
    x, _ = rows()
    with pytest.raises(ValueError, match=message):
        PMLLoss(loss)(x, *call)


# With the package itself.


@pytest.fixture
def pml():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("pytorch_metric_learning")
        for room in ("distances", "losses", "miners"):
            importlib.import_module(f"pytorch_metric_learning.{room}")
    return package


def labelled(seed, n=12):
    x, _ = rows(seed, n=n)
    return x, torch.tensor(np.random.default_rng(seed).integers(0, 4, size=n))


EQUAL = [
    (nf.SupCon(temperature=0.1), lambda pml: pml.losses.SupConLoss(temperature=0.1)),
    (
        nf.SupCon(temperature=0.2, denominator="own_positive", average="pairs"),
        lambda pml: pml.losses.NTXentLoss(temperature=0.2),
    ),
    (nf.MultiSimilarity(), lambda pml: pml.losses.MultiSimilarityLoss()),
    (
        nf.BatchTriplet(margin=0.3),
        lambda pml: pml.losses.TripletMarginLoss(0.3, distance=_plain(pml)),
    ),
]


each_equal = pytest.mark.parametrize(
    ("ours", "theirs"), EQUAL, ids=["SupCon", "NTXent", "MultiSimilarity", "BatchTriplet"]
)


def _plain(pml):
    return pml.distances.LpDistance(normalize_embeddings=False)


@each_equal
def test_cross_batch_memory_takes_it(pml, ours, theirs):
    one = pml.losses.CrossBatchMemory(PMLLoss(ours), D, memory_size=40)
    two = pml.losses.CrossBatchMemory(theirs(pml), D, memory_size=40)
    for step in range(6):
        x, labels = labelled(step)
        agree(one(x, labels), two(x, labels), (x,), 1e-6)


@pytest.mark.parametrize("miner", ["BatchHardMiner", "TripletMarginMiner"])
def test_cross_batch_memory_with_a_miner(pml, miner):
    make = getattr(pml.miners, miner)
    for ours, theirs in (EQUAL[0], *EQUAL[2:]):
        one = pml.losses.CrossBatchMemory(PMLLoss(ours), D, 40, make(distance=_plain(pml)))
        two = pml.losses.CrossBatchMemory(theirs(pml), D, 40, make(distance=_plain(pml)))
        for step in range(3):
            x, labels = labelled(step)
            agree(one(x, labels), two(x, labels), (x,), 1e-6)


@pytest.mark.parametrize(
    "miner",
    [
        "BatchEasyHardMiner",
        "BatchHardMiner",
        "MultiSimilarityMiner",
        "PairMarginMiner",
        "TripletMarginMiner",
    ],
)
@each_equal
def test_miners(pml, miner, ours, theirs):
    x, labels = labelled(8, n=24)
    mined = getattr(pml.miners, miner)()(x, labels)
    if type(theirs(pml)).__name__ == "NTXentLoss" and len(mined) == 3:
        # A pair of several triplets counts as often there, and once here and in its SupConLoss.
        mined = once(mined)
    agree(PMLLoss(ours)(x, labels, mined), theirs(pml)(x, labels, mined), (x,), 1e-6)


@each_equal
def test_a_reference_is_the_packages(pml, ours, theirs):
    both = PMLLoss(ours), theirs(pml)
    x, y = rows()
    agree(*(loss(x, LABELS, None, y, OTHERS) for loss in both), (x, y), 1e-6)
    x, y = rows(m=N)
    wrapped = (pml.losses.SelfSupervisedLoss(loss, symmetric=False) for loss in both)
    agree(*(loss(x, y) for loss in wrapped), (x, y), 1e-6)


def hidden_classes(seed, n=96):
    """Classes along 4 features of 16, of which the others are larger and say nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, size=n)
    centres = np.random.default_rng(7).normal(size=(6, 4))
    told = centres[labels] + 0.2 * rng.normal(size=(n, 4))
    features = np.concatenate([told, 3 * rng.normal(size=(n, 12))], axis=1)
    return torch.tensor(features).float(), torch.tensor(labels)


def test_training_with_a_miner_and_a_memory(pml):
    """As its users train: recall@1 of rows that were not seen."""
    torch.manual_seed(2)
    model = torch.nn.Linear(16, 8)
    miner = pml.miners.MultiSimilarityMiner()
    criterion = pml.losses.CrossBatchMemory(
        PMLLoss(nf.SupCon(temperature=0.1)), 8, memory_size=192, miner=miner
    )
    unseen, marks = hidden_classes(1000)

    def recall():
        return nf.metrics.recall_at_k(model(unseen).detach().numpy(), marks.numpy(), k=1)

    before = recall()
    search = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(60):
        search.zero_grad()
        x, labels = hidden_classes(step)
        criterion(model(x), labels).backward()
        search.step()
    assert before < 0.4
    assert recall() > 0.9


def test_self_supervised_loss_takes_it(pml):
    x, y = rows(m=N)
    found = pml.losses.SelfSupervisedLoss(PMLLoss(nf.SupCon(temperature=0.2)))(x, y)
    agree(found, nf.NTXent(temperature=0.2)(x, y), (x, y))
