"""Columns of texts as the inputs of a loss: with a model of no package, and in the trainer."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import nearfar as nf
from nearfar.sentence_transformers import Loss
from nearfar.torch import Loss as Module

ROWS, UPSTREAM = 37, 1.7


class Model(nn.Module):
    """Words' vectors, their mean: as a SentenceTransformer it writes into its features."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.words, self.drop, self.out = nn.Embedding(50, 6), nn.Dropout(0.2), nn.Linear(6, 5)
        self.most = 0

    def forward(self, features):
        assert "token_embeddings" not in features
        ids, mask = features["input_ids"], features["attention_mask"]
        self.most = max(self.most, len(ids))
        features["token_embeddings"] = self.drop(self.words(ids)) * mask[..., None]
        features["sentence_embedding"] = self.out(features["token_embeddings"].sum(1))
        return features


def column(seed, rows=ROWS, length=4):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 50, (rows, length), generator=generator)
    mask = torch.rand(rows, length, generator=generator) < 0.8
    return {"input_ids": ids, "attention_mask": mask.long(), "task": "query"}


def whole(model, columns, chunk=None):
    """Embeddings, by the same chunks."""
    found = []
    for features in columns:
        cut = {k: v.split(chunk or ROWS) for k, v in features.items() if torch.is_tensor(v)}
        parts = [dict(zip(cut, values, strict=True)) for values in zip(*cut.values(), strict=True)]
        found.append(torch.cat([model(part)["sentence_embedding"] for part in parts]))
    return found


def agree(one, two, tolerance):
    # A shift of all rows changes some losses by rounding only.
    most = max(p.grad.abs().max() for p in two.parameters())
    assert most > 0
    for x, y in zip(one.parameters(), two.parameters(), strict=True):
        assert (x.grad - y.grad).abs().max() <= tolerance * most


def ranking(z):
    """Each query among all positives and all negatives."""
    query, *others = (functional.normalize(x, dim=1) for x in z)
    logits = query @ torch.cat(others).T / 0.05
    return functional.cross_entropy(logits, torch.arange(ROWS))


LABELS = torch.arange(ROWS) % 5
CALLS = {
    "InfoNCE": (nf.InfoNCE(temperature=0.05), 2, lambda loss, z: loss(*z)),
    "InfoNCE, own negatives": (
        nf.InfoNCE(temperature=0.05, scale=2.0),
        4,
        lambda loss, z: loss(z[0], z[1], torch.stack(z[2:], 1)),
    ),
    "InfoNCE, everybody's negatives": (
        nf.InfoNCE(temperature=0.05, in_batch="always", own="all"),
        4,
        lambda loss, z: ranking(z),
    ),
    "CLIP": (nf.CLIP(), 2, lambda loss, z: loss(*z)),
    "NTXent": (nf.NTXent(), 2, lambda loss, z: loss(*z)),
    "Triplet": (nf.Triplet(margin=3.0), 3, lambda loss, z: loss(*z)),
    "CoSENT": (nf.CoSENT(), 2, lambda loss, z: loss(*z, LABELS.float())),
    "Matryoshka": (
        nf.Matryoshka(nf.InfoNCE(), dims=(2, 5)),
        2,
        lambda loss, z: loss.loss(*(x[:, :2] for x in z)) + loss.loss(*z),
    ),
    "SupCon": (nf.SupCon(), 1, lambda loss, z: loss(*z, LABELS)),
    "SupCR": (nf.SupCR(), 1, lambda loss, z: loss(*z, LABELS.float())),
}


@pytest.mark.parametrize("chunk", [None, 8, 100])
@pytest.mark.parametrize("call", CALLS)
def test_columns_are_the_inputs(call, chunk):
    loss, count, directly = CALLS[call]
    one = Model()
    two = copy.deepcopy(one)
    columns = [column(k) for k in range(count)]
    labels = LABELS.float() if call in ("SupCR", "CoSENT") else LABELS
    torch.manual_seed(11)
    expected = directly(loss, whole(two, columns, chunk))
    (UPSTREAM * expected).backward()
    after = torch.rand(1)
    torch.manual_seed(11)
    value = Loss(one, loss, chunk)(columns, labels)
    assert torch.rand(1) == after
    (UPSTREAM * value).backward()
    assert value.dtype == expected.dtype
    assert one.most == (chunk if chunk == 8 else ROWS)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    agree(one, two, 1e-5)
    assert all("token_embeddings" not in features for features in columns)


def test_chunks_learn_a_temperature_and_leave_a_frozen_model():
    module = Loss(Model(), Module(nf.CLIP(), learn_temperature=True), chunk=8)
    module.model.requires_grad_(False)
    columns = [column(1), column(2)]
    module(columns).backward()
    assert module.loss.log_temperature.grad.abs() > 0
    assert all(p.grad is None for p in module.model.parameters())
    assert [name for name, p in module.named_parameters() if p.requires_grad] == [
        "loss.log_temperature"
    ]


def test_chunks_keep_no_graph_where_none_is_recorded():
    module = Loss(Model().eval(), nf.InfoNCE(), chunk=8)
    columns = [column(1), column(2)]
    with torch.no_grad():
        value = module(columns)
    assert not value.requires_grad
    assert module.model.most == 8
    torch.testing.assert_close(value, Loss(module.model, nf.InfoNCE())(columns).detach())


def test_chunks_may_go_back_twice():
    module = Loss(Model().eval(), nf.InfoNCE(), chunk=8)
    value = module([column(1), column(2)])
    value.backward(retain_graph=True)
    once = [p.grad.clone() for p in module.model.parameters()]
    value.backward()
    for p, g in zip(module.model.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 2 * g)
    with pytest.raises(RuntimeError, match="at once for second derivatives"):
        module([column(1), column(2)]).backward(create_graph=True)


def test_chunks_under_autocast():
    one = Model()
    two = copy.deepcopy(one)
    columns = [column(1), column(2)]
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(11)
        value = Loss(one, nf.InfoNCE(), chunk=8)(columns)
        torch.manual_seed(11)
        expected = nf.InfoNCE()(*whole(two, columns, 8))
    seen = []
    one.out.register_forward_hook(lambda *given: seen.append(given[-1].dtype))
    value.backward()  # as trainers do, outside
    expected.backward()
    assert set(seen) == {torch.bfloat16}
    torch.testing.assert_close(value, expected)
    agree(one, two, 0.02)


def test_the_model_card_is_told():
    module = Loss(Model(), nf.InfoNCE(temperature=0.05), chunk=64)
    told = module.get_config_dict()
    assert (told["loss"], told["temperature"], told["chunk"]) == ("InfoNCE", 0.05, 64)
    assert "eprint = {1807.03748}" in module.citation
    learned = Loss(Model(), Module(nf.SigLIP(), True)).get_config_dict()
    assert learned["learned"] == ["temperature", "bias"]
    assert "chunk" not in learned


@pytest.mark.parametrize(
    ("loss", "columns", "labels", "message"),
    [
        (nf.CLIP(), 3, None, "expected 2 columns for CLIP, x, y; received 3"),
        (nf.InfoNCE(), 1, None, "query, positive, and any number of negatives; received 1"),
        (nf.SupCon(), 1, None, "a column of labels for SupCon; received none"),
        (nf.SupCon(), 2, LABELS, "expected 1 columns for SupCon, embeddings; received 2"),
    ],
)
def test_refused(loss, columns, labels, message):
    with pytest.raises(ValueError, match=message):
        Loss(Model(), loss)([column(k) for k in range(columns)], labels)


def test_proxies_are_held_beside_the_model():
    module = Loss(Model(), Module(nf.NormalizedSoftmax(), proxies=(5, 5)), chunk=8)
    module([column(1)], LABELS).backward()
    assert module.loss.proxies.grad.abs().max() > 0
    assert module.model.words.weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match=r"holds the proxies of ArcFace.*proxies=\(classes"):
        Loss(Model(), nf.ArcFace())


def test_no_loss_is_refused():
    with pytest.raises(TypeError, match="nearfar loss; received MSELoss"):
        Loss(Model(), nn.MSELoss())


# In the trainer itself.

ANIMALS = ["cat", "dog", "cow", "pig", "hen", "fox", "owl", "bat", "ant", "bee", "elk", "ram"]
SOUNDS = ["meows", "barks", "moos", "oinks", "clucks", "yaps", "hoots", "squeaks", "clicks"]
SOUNDS += ["buzzes", "bugles", "bleats"]
PLACES = "on the farm", "in the night", "at the door", "over there"


@pytest.fixture(scope="module")
def package():
    return pytest.importorskip("sentence_transformers")


@pytest.fixture
def encoder(package):
    """A transformer of one layer whose words are those of the test; nothing is downloaded."""
    import tempfile
    from pathlib import Path

    from sentence_transformers import SentenceTransformer, models
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", *ANIMALS, *SOUNDS, *sorted(set(" ".join(PLACES).split())), "the"]
    words = list(dict.fromkeys(words))
    tokens = Tokenizer(WordLevel({w: k for k, w in enumerate(words)}, unk_token="[UNK]"))
    tokens.normalizer, tokens.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words), hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        BertModel(config).save_pretrained(folder)
        fast.save_pretrained(folder)
        assert Path(folder, "config.json").exists()
        transformer = models.Transformer(folder, max_seq_length=16)
        pooling = models.Pooling(transformer.get_word_embedding_dimension())
        return SentenceTransformer(modules=[transformer, pooling], device="cpu")


def texts():
    """An animal at a place, what it says, and what another says."""
    found = {"anchor": [], "positive": [], "negative": []}
    for place in PLACES:
        for k, (animal, sound) in enumerate(zip(ANIMALS, SOUNDS, strict=True)):
            found["anchor"].append(f"the {animal} {place}")
            found["positive"].append(f"it {sound}")
            found["negative"].append(f"it {SOUNDS[(k + 5) % len(SOUNDS)]}")
    return found


def trained(encoder, data, loss, tmp_path, epochs=25):
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=epochs, per_device_train_batch_size=16,
        learning_rate=5e-3, report_to=[], save_strategy="no", logging_strategy="no", seed=1,
        use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model=encoder, args=arguments, train_dataset=Dataset.from_dict(data), loss=loss
    )
    trainer.train()
    return trainer


def top1(encoder):
    """Share of the animals whose own sound is the nearest."""
    asked = encoder.encode([f"the {animal}" for animal in ANIMALS], convert_to_tensor=True)
    told = encoder.encode([f"it {sound}" for sound in SOUNDS], convert_to_tensor=True)
    near = functional.normalize(asked, dim=1) @ functional.normalize(told, dim=1).T
    return (near.argmax(1) == torch.arange(len(ANIMALS))).float().mean().item()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("columns", [2, 3])
def test_pairs_with_and_without_hard_negatives_are_trained(encoder, tmp_path, columns, chunk):
    data = dict(list(texts().items())[:columns])
    before = top1(encoder)
    statement = nf.InfoNCE(temperature=0.05, in_batch="always", own="all")
    loss = Loss(encoder, statement, chunk)
    trainer = trained(encoder, data, loss, tmp_path)
    assert before < 0.5
    assert top1(encoder) > 0.9
    trainer.model.save_pretrained(str(tmp_path / "model"))
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "nearfar.sentence_transformers.Loss" in card
    assert '"temperature": 0.05' in card
    assert "1807.03748" in card


@pytest.mark.filterwarnings("ignore")
def test_texts_with_labels_are_trained(encoder, tmp_path):
    data = texts()
    text, labels = data["anchor"] + data["positive"], [*range(len(ANIMALS))] * (2 * len(PLACES))
    before = top1(encoder)
    trained(encoder, {"text": text, "label": labels}, Loss(encoder, nf.SupCon()), tmp_path)
    assert before < 0.5
    assert top1(encoder) > 0.9


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", [("anchor", "positive"), ("anchor", "positive", "negative")])
def test_the_value_is_that_of_multiple_negatives_ranking(package, encoder, names):
    from sentence_transformers import losses

    encoder.eval()
    data = texts()
    columns = [encoder.tokenize(data[name][:20]) for name in names]
    theirs = losses.MultipleNegativesRankingLoss(encoder)([dict(c) for c in columns], None)
    statement = nf.InfoNCE(temperature=1 / 20, in_batch="always", own="all")
    ours = Loss(encoder, statement)([dict(c) for c in columns])
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
