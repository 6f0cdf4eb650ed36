"""A loss is a value: a complete statement of a convention."""

import copy
import dataclasses
import inspect
import json
import pickle

import pytest
from support.cases import LOSSES

import nearfar as nf

DEFAULTS = {name: entry.fields for name, entry in LOSSES.items()}
STATEMENTS = [getattr(nf, name)() for name in DEFAULTS]
STATEMENTS += [getattr(nf, name)(**entry.others) for name, entry in LOSSES.items()]


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_signature_has_the_fields_alone(name):
    parameters = inspect.signature(getattr(nf, name)).parameters
    assert {key: p.default for key, p in parameters.items()} == DEFAULTS[name]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    called = inspect.signature(getattr(nf, name)()).parameters.values()
    assert [str(p).partition(":")[0] for p in called] == ["*inputs", "**named"]
    assert next(iter(parameters)) not in ("scale", "scale_by", "reduction")


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (nf.SupCon(average="pairs"), "SupCon(temperature=0.1, average='pairs')"),
        (nf.NTXent(), "NTXent(temperature=0.5)"),
        (nf.NTXent(scale=2), "NTXent(temperature=0.5, scale=2.0)"),
        (nf.PairMargin(distance="cosine"), "PairMargin(margin=1.0, distance='cosine')"),
        (nf.SigLIP(bias=-3), "SigLIP(temperature=0.1, bias=-3.0)"),
    ],
    ids=str,
)
def test_a_loss_in_words(loss, text):
    assert repr(loss) == str(loss) == text


@pytest.mark.parametrize("name", DEFAULTS)
def test_fields_and_defaults(name):
    loss = getattr(nf, name)()
    fields = {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss) if f.compare}
    assert fields == DEFAULTS[name]


@pytest.mark.parametrize("loss", STATEMENTS, ids=repr)
class TestEveryStatement:
    def test_equality(self, loss):
        same = type(loss)(**{k: v for k, v in loss.to_dict().items() if k in _names(loss)})
        assert same == loss
        assert same is not loss
        assert hash(same) == hash(loss)
        (field, *_) = DEFAULTS[type(loss).__name__]
        assert loss != dataclasses.replace(loss, **{field: 0.123})
        assert sum(loss == other for other in STATEMENTS) == 1
        assert len({*STATEMENTS, same}) == len(STATEMENTS)

    def test_repr_is_python(self, loss):
        assert eval(repr(loss), {type(loss).__name__: type(loss)}) == loss

    def test_copies(self, loss):
        assert pickle.loads(pickle.dumps(loss)) == loss
        assert copy.deepcopy(loss) == loss
        assert copy.copy(loss) == loss

    def test_json(self, loss):
        text = json.dumps(loss.to_dict())
        again = nf.loss_from_dict(json.loads(text))
        assert again == loss
        assert type(again) is type(loss)
        assert type(loss).__name__ in text
        assert all(name in loss.to_dict() for name in DEFAULTS[type(loss).__name__])

    def test_options_take_no_part_in_equality(self, loss):
        tiled = loss.with_options(tile=3, memory=2**20, workers=1, check_finite=False)
        assert tiled is not loss
        assert tiled == loss
        assert hash(tiled) == hash(loss)
        assert tiled.to_dict() == loss.to_dict()
        assert pickle.loads(pickle.dumps(tiled)) == loss

    def test_options_stay_when_a_field_is_replaced(self, loss):
        tiled = loss.with_options(tile=3, memory=2**20, workers=1, check_finite=False)
        assert pickle.loads(pickle.dumps(tiled)).options == tiled.options
        assert copy.deepcopy(tiled).options == tiled.options
        other = dataclasses.replace(tiled, scale=2.0)
        assert other == dataclasses.replace(loss, scale=2.0)
        changed = {"tile": 3, "memory": 2**20, "workers": 1, "check_finite": False}
        assert other.options == tiled.options == loss.options._replace(**changed)
        assert other.with_options().options == loss.options

    def test_frozen(self, loss):
        for field in DEFAULTS[type(loss).__name__]:
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(loss, field, 1.0)
        with pytest.raises((AttributeError, TypeError)):
            loss.temprature = 1.0

    def test_options_are_checked(self, loss):
        for wrong in (3, None, (1, 2, 3, None)):
            with pytest.raises(TypeError, match=r"options.*with_options"):
                dataclasses.replace(loss, options=wrong)
        with pytest.raises(ValueError, match="tile"):
            dataclasses.replace(loss, options=loss.options._replace(tile=-1))

    def test_keyword_only(self, loss):
        with pytest.raises(TypeError, match="positional"):
            type(loss)(0.5)
        with pytest.raises(TypeError, match="margn"):
            type(loss)(margn=0.5)


def _names(loss):
    return DEFAULTS[type(loss).__name__]


def test_rank_n_contrast_is_supcr():
    assert nf.RankNContrast is nf.SupCR
    loss = nf.RankNContrast(order="nearer")
    assert loss == nf.SupCR(order="nearer")
    assert nf.loss_from_dict(loss.to_dict()) == loss


def test_losses_of_different_kinds_differ():
    assert nf.DCL(temperature=0.1) != nf.CLIP(temperature=0.1)
    assert nf.HCL() != nf.NTXent()
    assert nf.NTXent(temperature=0.1) != nf.SupCon(temperature=0.1)


def test_replace_keeps_a_statement_valid():
    loss = nf.SupCon(average="pairs")
    with pytest.raises(ValueError, match="average"):
        dataclasses.replace(loss, positives="log_sum")


@pytest.mark.parametrize(
    ("record", "word"),
    [({"loss": "NoSuchLoss"}, "NoSuchLoss"), ({}, "loss")],
    ids=["unknown", "empty"],
)
def test_unreadable_records(record, word):
    with pytest.raises((ValueError, KeyError, TypeError), match=word):
        nf.loss_from_dict(record)


def test_unknown_field_in_a_record():
    record = {**nf.NTXent().to_dict(), "margin": 1.0}
    with pytest.raises((ValueError, TypeError), match="margin"):
        nf.loss_from_dict(record)


def test_a_loss_of_two_names_is_found_by_both():
    assert nf.loss_from_dict({"loss": "RankNContrast", "temperature": 1.0}) == nf.SupCR(
        temperature=1.0
    )
