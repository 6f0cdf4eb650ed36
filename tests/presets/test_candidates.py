"""Presets whose anchors meet other rows than their batch, beside the packages themselves."""

import numpy as np
import pytest
import torch
from support.peers import module, pml, st
from torch import nn

import nearfar as nf

TOLERANCE = 1e-6
ST, PML = "sentence-transformers/", "pytorch-metric-learning/"
LABELS = torch.tensor([3, 0, 0, 1, 2, 0, 1, 2, 2, 4, 2, 0])
OTHERS = torch.tensor([0, 1, 2, 2, 1, 0, 5, 3, 5])


@pytest.fixture(params=range(3))
def arrays(request):
    """Queries, documents, three hard negatives of each, and a reference."""
    rng = np.random.default_rng(request.param)
    x = rng.normal(size=(12, 7))
    near = x + 1.2 * rng.normal(size=(12, 7))
    made = x, near, x[:, None] + 1.5 * rng.normal(size=(12, 3, 7)), rng.normal(size=(9, 7))
    return [torch.tensor(a * rng.uniform(0.5, 2, size=(*a.shape[:-1], 1))) for a in made]


def differentiated(call, arrays):
    leaves = [x.clone().requires_grad_() for x in arrays]
    value = call(*leaves)
    return value.item(), torch.autograd.grad(value, leaves)


def agree(ours, theirs, arrays):
    (value, gradients), (other, others) = (differentiated(f, arrays) for f in (ours, theirs))
    assert abs(value - other) <= TOLERANCE
    for one, two in zip(gradients, others, strict=True):
        assert two.abs().max() > 1e-3
        assert (one - two).abs().max() <= TOLERANCE


EVERY = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")


@pytest.mark.parametrize(
    ("variant", "how"),
    [("hard_negatives", {}), ("all_directions", {"directions": EVERY})],
)
def test_multiple_negatives_ranking(arrays, variant, how):
    theirs = st("MultipleNegativesRankingLoss")(scale=5.0, **how)
    loss = nf.preset(f"{ST}MultipleNegativesRankingLoss:{variant}", temperature=0.2)

    def ranking(q, k, n):
        return theirs.compute_loss_from_embeddings([q, k, *n.unbind(1)], None)

    agree(loss, ranking, arrays[:3])


class Encoder(nn.Module):
    """Says the rows it is given; its tokenizer is there because it has to be."""

    max_seq_length = 1

    def __init__(self, what):
        super().__init__()
        tokens = module("tokenizers")
        words = tokens.Tokenizer(tokens.models.WordLevel({"a": 0}, unk_token="a"))
        transformers = module("transformers")
        self.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
        self.what = what

    def forward(self, features):
        return {"sentence_embedding": features[self.what]}


@pytest.mark.parametrize(
    ("variant", "how"),
    [
        ("", {}),
        ("", {"margin": 0.3}),
        (":relative", {}),
        (":relative", {"margin": 0.4}),
    ],
)
def test_gist(arrays, variant, how):
    guide = [x[..., :4] + 0.3 for x in arrays[:3]]
    losses = module("sentence_transformers.sentence_transformer.losses")
    stated = {"margin_strategy": "relative", "margin": 0.05} if variant else {}
    theirs = losses.GISTEmbedLoss(
        Encoder("rows"), Encoder("guide"), temperature=0.2, **stated | how
    )
    loss = nf.preset(f"{ST}GISTEmbedLoss{variant}", temperature=0.2)
    if how:
        exclude = nf.Exclude(by="guide", kind=loss.exclude.kind, **how)
        loss = nf.preset(f"{ST}GISTEmbedLoss{variant}", temperature=0.2, exclude=exclude)
    seen = [*guide[:2], guide[2][:, :1]]
    plain = nf.preset(f"{ST}GISTEmbedLoss{variant}", temperature=0.2, exclude=None)

    def gist(*columns):
        features = [{"rows": x, "guide": g} for x, g in zip(columns, seen, strict=True)]
        return theirs([{k: v.reshape(12, -1) for k, v in f.items()} for f in features], None)

    given = [*arrays[:2], arrays[2][:, :1]]
    agree(lambda *x: loss(*x, guide=tuple(seen)), gist, given)
    assert abs(loss(*given, guide=tuple(seen)) - plain(*given)) > 0.01


@pytest.mark.parametrize("name", ["SupConLoss", "NTXentLoss"])
def test_reference(arrays, name):
    theirs = getattr(pml("losses"), name)(temperature=0.2)
    loss = nf.preset(f"{PML}{name}:ref_emb", temperature=0.2)
    agree(
        lambda z, r: loss(z, LABELS, r, OTHERS),
        lambda z, r: theirs(z, LABELS, ref_emb=r, ref_labels=OTHERS),
        [arrays[0], arrays[3]],
    )


def test_cross_batch_memory(arrays):
    """The batch is pushed first; its rows are constants as candidates."""
    batch, _, _, before = arrays
    losses = pml("losses")
    memory = losses.CrossBatchMemory(losses.SupConLoss(temperature=0.2), 7, memory_size=30)
    memory.embedding_memory = memory.embedding_memory.double()
    memory.add_to_memory(before, OTHERS, len(OTHERS))
    loss = nf.preset(f"{PML}CrossBatchMemory(SupConLoss)", temperature=0.2)

    def ours(z):
        return loss(z, LABELS, before, OTHERS)

    value, (gradient,) = differentiated(ours, [batch])
    other, (part,) = differentiated(lambda z: memory(z, LABELS), [batch])
    assert abs(value - other) <= TOLERANCE
    assert (gradient - part).abs().max() > 1e-3


def test_retrieval(arrays):
    """As its source has it: logits of duplicates are lowered by 1e36."""
    ids = torch.tensor([3, 1, 3, 2, 1, 5, 6, 3, 7, 8, 9, 2])
    probability = torch.linspace(0.05, 0.9, 12, dtype=torch.float64)
    weight = torch.linspace(0.5, 2.0, 12, dtype=torch.float64)
    loss = nf.preset("tensorflow-recommenders/Retrieval:remove_accidental_hits", temperature=2.0)

    def theirs(q, k):
        logits = q @ k.T / 2.0 - probability.log()
        duplicates = (ids[:, None] == ids).double() - torch.eye(12)
        rows = nn.functional.cross_entropy(
            logits - 1e36 * duplicates, torch.arange(12), reduction="none"
        )
        return (weight * rows).sum()

    log_q = probability.log()
    agree(lambda q, k: loss(q, k, ids=ids, log_q=log_q, sample_weight=weight), theirs, arrays[:2])
    assert loss == nf.preset("tensorflow-recommenders/Retrieval", temperature=2.0)
