"""Losses that somebody else defines: what is refused at the definition, and in which words."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from oracles.multisimilarity import multisimilarity

import nearfar as nf
from nearfar.losses import LOSSES, LabelledRows, TwoViews, choice, from_zero, number, positive
from nearfar.rules import PartitionRule, QueryRule, Slopes, Sum

A, B = np.random.default_rng(5).normal(size=(2, 6, 4))


@pytest.fixture(autouse=True)
def _only_nearfars_losses():
    before = dict(LOSSES)
    yield
    LOSSES.clear()
    LOSSES.update(before)


class Gap(PartitionRule):
    """log of the sum over the negatives, less the positive."""

    sums = (Sum("negatives"),)
    linear = True

    def finish(self, ns, a):
        one = ns.xp.ones_like(a.linear)
        return a.logs[0] - a.linear, Slopes((one,), -one)


@pytest.mark.parametrize("name", ["NTXent", "ntxent", "RankNContrast", "SUPCR"])
def test_a_taken_name(name):
    before = dict(LOSSES)
    builtin = nf.NTXent(temperature=0.3)
    with pytest.raises(TypeError, match=rf"received {name} in module .*My{name}"):
        type(name, (nf.NTXent,), {"rule": lambda self: Gap(), "__module__": __name__})
    assert before == LOSSES
    assert type(nf.loss_from_dict(builtin.to_dict())) is nf.NTXent
    a, b = torch.tensor(A), torch.tensor(B)
    compiled = torch.compile(lambda a, b: builtin(a, b), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(a, b), builtin(a, b), rtol=1e-12, atol=0)


def test_a_name_of_its_own():
    class Mine(nf.NTXent):
        temperature: float = positive(0.3)

        def rule(self):
            return Gap()

    want = nf.DCL(temperature=0.3)
    loss = Mine()
    assert repr(loss) == "Mine(temperature=0.3)"
    assert loss(A, B) == want(A, B)
    assert type(nf.loss_from_dict(loss.to_dict())) is Mine
    assert type(nf.NTXent()) is not Mine
    a, b = torch.tensor(A), torch.tensor(B)
    compiled = torch.compile(lambda a, b: loss(a, b), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(a, b), loss(a, b), rtol=1e-14, atol=0)


def test_a_definition_that_runs_again_leaves_the_first_as_it_was():
    """As the cell of a notebook: compiled programs of the first still compute the first."""

    def define(scale):
        class Again(TwoViews):
            temperature: float = positive(0.3)

            def rule(self):
                return Gap()

            @property
            def factor(self):
                return scale

        return Again

    (first, second), (a, b) = (define(2.0)(), define(5.0)()), torch.tensor(np.stack([A, B]))
    torch.compiler.reset()
    for loss, scale in ((first, 2.0), (second, 5.0)):
        compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(a, b), scale * nf.DCL(temperature=0.3)(a, b))
    assert type(nf.loss_from_dict(first.to_dict())) is type(second)


@pytest.mark.parametrize(
    "body",
    [
        {"__annotations__": {"temperature": float}, "temperature": 0.2},
        {"temperature": 0.2},
        {"__annotations__": {"temperature": float}},
        {
            "__annotations__": {"temperature": "float"},
            "temperature": dataclasses.field(default=0.2),
        },
        {"__annotations__": {"shape": str}, "shape": "round"},
    ],
    ids=["number", "bare", "nothing", "field", "text"],
)
def test_a_field_without_a_declaration(body):
    (name,) = set(body) - {"__annotations__"} or body["__annotations__"]
    with pytest.raises(TypeError, match=rf"Mine: expected the field {name} .*(positive|choice)\("):
        type("Mine", (nf.NTXent,), {**body, "__module__": __name__})
    assert "mine" not in LOSSES


@pytest.mark.parametrize(
    ("declare", "word"),
    [
        (lambda: positive(0), "above 0"),
        (lambda: from_zero(1.0, below=1), "below 1"),
        (lambda: number("x"), "'x'"),
        (choice, "default first"),
    ],
)
def test_a_declaration_that_refuses_its_own_default(declare, word):
    with pytest.raises((TypeError, ValueError), match=word):
        declare()


@pytest.mark.parametrize("decorator", [lambda cls: cls, dataclasses.dataclass(frozen=True)])
def test_a_decorator_changes_nothing(decorator):
    @decorator
    class Gaps(LabelledRows):
        temperature: float = positive(0.2)
        strength: float = from_zero(1.0, below=3)
        without_positives: str = choice("skip", "zero")

        def rule(self):
            return Gap()

    loss = Gaps(strength=2)
    assert repr(loss) == "Gaps(temperature=0.2, strength=2.0)"
    assert dataclasses.is_dataclass(loss)
    assert [f.name for f in dataclasses.fields(loss)][-3:] == [
        "temperature", "strength", "without_positives"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="strength"):
        Gaps(strength=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.strength = 1.0
    assert dataclasses.replace(loss.with_options(tile=3), strength=0.5).options.tile == 3
    labels = [0, 0, 1, 1, 1, 2]
    whole, zero = Gaps(reduction="none")(A, labels), Gaps(without_positives="zero")(A, labels)
    assert whole[5] == 0
    np.testing.assert_allclose(zero, whole.mean())


@dataclasses.dataclass(frozen=True)
class TwoSums(PartitionRule):
    """Multi-similarity, whose anchors without positives count with their negatives."""

    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5
    needs_positives = False

    @property
    def sums(self):
        return Sum("positives", -self.alpha), Sum("negatives", self.beta)

    def finish(self, ns, a):
        pull = a.logs[0] + self.alpha * self.base
        push = a.logs[1] - self.beta * self.base
        losses = ns.softplus(pull) / self.alpha + ns.softplus(push) / self.beta
        return losses, Slopes((ns.sigmoid(pull) / self.alpha, ns.sigmoid(push) / self.beta))


@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["small logits", "large logits"])
@pytest.mark.parametrize("tile", [None, 2])
def test_anchors_without_positives_are_the_rules_to_judge(framework, tile, scale):
    class Counting(LabelledRows):
        similarity: str = choice("cosine", "dot")

        def rule(self):
            return TwoSums()

    labels, rows = [4, 4, 1, 7, 7, 4], scale * A  # row 2 is alone
    for similarity in ("cosine", "dot"):
        fields = {"similarity": similarity, "without_positives": "count"}
        want = multisimilarity(rows.tolist(), labels, **fields)
        loss = Counting(similarity=similarity).with_options(tile=tile)
        value, (slope,) = framework.differentiate(
            loss, [framework.asarray(rows)], framework.labels(labels), upstream=3.0
        )
        np.testing.assert_allclose(framework.read(value), want, rtol=1e-12)
        direction = B * 1e-6
        ends = [multisimilarity((rows + s * direction).tolist(), labels, **fields) for s in (1, -1)]
        along = (framework.read(slope) * direction).sum()
        np.testing.assert_allclose(along, 3 * (ends[0] - ends[1]) / 2, rtol=1e-5)
    alone = [0, 1, 2, 3, 4, 5]
    assert Counting()(A, alone) > 0
    assert (Counting(reduction="none")(A, alone) > 0).all()


def test_a_rule_of_another_kind():
    class Wrong(LabelledRows):
        def rule(self):
            return QueryRule()

    with pytest.raises(TypeError, match=r"PartitionRule or WithinRule.*LabelledRows.*QueryRule"):
        Wrong()


def test_no_rule():
    class Empty(LabelledRows):
        pass

    with pytest.raises(TypeError, match=r"Empty: expected a method rule\(\).*write-a-loss"):
        Empty()


@pytest.mark.parametrize("cls", [nf.Loss, LabelledRows])
def test_what_losses_derive_from_is_none(cls):
    with pytest.raises(TypeError, match=f"received {cls.__name__}, which losses derive from"):
        cls()


def test_families():
    assert nf.SupCon().family is LabelledRows
    assert nf.HCL().family is TwoViews
    assert issubclass(nf.BatchTriplet, LabelledRows)


def test_pickles_know_the_class():
    assert pickle.loads(pickle.dumps(nf.HCL(beta=2.0))) == nf.HCL(beta=2.0)
