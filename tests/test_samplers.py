"""Batches that have positives."""

import copy
import pickle
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch

from nearfar.samplers import ClassBalancedSampler, Triples, TwoViews

LABELS = np.array(list("aabbbbcccccddddddde"))


def epochs(sampler, count):
    return [list(sampler) for _ in range(count)]


def test_every_batch_has_its_classes_and_no_row_twice():
    sampler = ClassBalancedSampler(LABELS, classes=2, per_class=2, seed=3)
    seen = Counter()
    for batches in epochs(sampler, 20):
        assert len(batches) == len(sampler) == 4  # 18 usable rows, 4 a batch
        for batch in batches:
            assert len(set(batch)) == 4
            assert sorted(Counter(LABELS[batch]).values()) == [2, 2]
            seen.update(LABELS[batch])
    # All classes alike, whatever their size; the single row of "e" never.
    assert set(seen) == set("abcd")
    assert max(seen.values()) - min(seen.values()) <= 8


def test_all_rows_of_a_class_come_before_one_comes_again():
    sampler = ClassBalancedSampler(["a"] * 6 + ["b"] * 6, classes=2, per_class=2)
    (batches,) = epochs(sampler, 1)
    assert sorted(k for batch in batches for k in batch) == list(range(12))


def test_seeds_and_epochs_differ_and_repeat():
    first, second = (epochs(ClassBalancedSampler(LABELS, 2, 2, seed=5), 3) for _ in range(2))
    assert first == second
    assert first[0] != first[1]
    assert first != epochs(ClassBalancedSampler(LABELS, 2, 2, seed=6), 3)


@pytest.mark.parametrize("stop", range(1, 8))
def test_it_goes_on_where_it_stood(stop):
    whole = [
        batch for batches in epochs(ClassBalancedSampler(LABELS, 2, 2), 3) for batch in batches
    ]
    sampler = ClassBalancedSampler(LABELS, 2, 2)
    taken = []
    while len(taken) < stop:
        for batch in sampler:
            taken.append(batch)
            if len(taken) == stop:
                break
    other = ClassBalancedSampler(LABELS, 2, 2)
    other.load_state_dict(sampler.state_dict())
    rest = list(chain.from_iterable(epochs(other, 3)))
    assert taken + rest[: len(whole) - stop] == whole


def test_a_loader_takes_it():
    sampler = ClassBalancedSampler(LABELS, 2, 3)
    rows = torch.arange(len(LABELS))
    loader = torch.utils.data.DataLoader(rows, batch_sampler=sampler)
    assert all(batch.shape == (6,) for batch in loader)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LABELS, 3, 5), "3 classes with 5 rows or more; received labels with 2"),
        ((LABELS, 0, 2), "classes"),
        ((LABELS[:, None], 2, 2), "labels of shape"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassBalancedSampler(*arguments)
    with pytest.raises(ValueError, match="are the labels the same"):
        ClassBalancedSampler(LABELS, 2, 2).load_state_dict({"epoch": 0, "done": 99})


def test_two_views():
    rng = np.random.default_rng(0)
    a, b = TwoViews(lambda x: x + rng.normal())(1.0)
    assert a != b
    assert TwoViews(lambda x: x + 1, second=lambda x: -x)(2) == (3, -2)


def test_triples():
    data = [(10 * k, label) for k, label in enumerate(LABELS)]
    triples = Triples(data, seed=1)
    assert len(triples) == 18
    for _ in range(2):
        for i in range(len(triples)):
            anchor, positive, negative = (x // 10 for x in triples[i])
            assert anchor == i
            assert LABELS[anchor] == LABELS[positive] != LABELS[negative]
            assert anchor != positive
    first = [triples[i] for i in range(18)]
    assert first == [triples[i] for i in range(18)]
    assert triples[-1] == triples[17]
    triples.set_epoch(1)
    assert first != [triples[i] for i in range(18)]
    with pytest.raises(IndexError):
        triples[18]
    assert Triples(data, labels=LABELS, seed=1)[3] == first[3]


# JAX and Python warn of processes that fork while threads run.
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_an_epoch_reaches_workers_that_outlive_it(context):
    triples = Triples(Numbered(), labels=LABELS, seed=1)
    loader = torch.utils.data.DataLoader(
        triples,
        batch_size=None,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context=context,
    )
    epochs = []
    for epoch in (0, 5, 6, 0):
        triples.set_epoch(epoch)
        epochs.append(list(map(tuple, loader)))
        assert epochs[-1] == [triples[i] for i in range(18)]
    assert epochs[0] == epochs[3]
    assert epochs[0] != epochs[1] != epochs[2]


class Numbered:
    def __len__(self):
        return len(LABELS)

    def __getitem__(self, i):
        return i, LABELS[i]


def test_a_copy_has_an_epoch_of_its_own():
    triples = Triples(Numbered(), seed=1)
    triples.set_epoch(4)
    for other in (copy.deepcopy(triples), pickle.loads(pickle.dumps(triples))):
        assert (other.epoch, other[3]) == (4, triples[3])
        other.set_epoch(5)
        assert triples.epoch == 4
    for epoch in (-1, 1.0, True):
        with pytest.raises((TypeError, ValueError), match="epoch to be a whole number from 0"):
            triples.set_epoch(epoch)


@pytest.mark.parametrize("labels", ["aaaa", "abcd"])
def test_no_triples(labels):
    with pytest.raises(ValueError, match="two classes or more"):
        Triples(list(enumerate(labels)))
