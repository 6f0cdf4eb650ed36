"""Labels of every framework, dtype and kind, for the samplers."""

import jax
import numpy as np
import pytest
import tensorflow as tf
import torch

from nearfar.samplers import ClassBalancedSampler, Triples

LABELS = np.array(list("aabbbbcccccddddddde"))


class Numbered:
    def __len__(self):
        return len(LABELS)

    def __getitem__(self, i):
        return i, LABELS[i]


CODES = np.unique(LABELS, return_inverse=True)[1]
KINDS = {
    "a list": CODES.tolist(),
    "bfloat16": torch.tensor(CODES).bfloat16(),
    "with a gradient": torch.tensor(CODES, dtype=torch.float32).requires_grad_(),
    "tensors in a list": list(torch.tensor(CODES)),
    "TensorFlow's": tf.constant(CODES),
    "JAX's bfloat16": jax.numpy.asarray(CODES, "bfloat16"),
    "objects": LABELS.astype(object),
}


@pytest.mark.parametrize("labels", KINDS.values(), ids=KINDS)
def test_labels_of_any_kind(labels):
    want = list(ClassBalancedSampler(LABELS, 2, 2, seed=3))
    assert list(ClassBalancedSampler(labels, 2, 2, seed=3)) == want
    assert Triples(Numbered(), labels)[4] == Triples(Numbered(), LABELS)[4]
    read_off = Triples(list(zip(range(len(LABELS)), labels, strict=True)))
    assert read_off[4] == Triples(Numbered(), LABELS)[4]


MISSING = {
    "NaN": np.where(CODES == 1, np.nan, CODES),
    "NaN among objects": np.where(CODES == 1, np.nan, LABELS.astype(object)),
    "None": np.where(CODES == 1, None, LABELS),
    "NaT": np.where(CODES == 1, np.datetime64("NaT"), np.datetime64("2020-01-01")),
    "masked": np.ma.array(CODES, mask=CODES == 1),
    "a tensor's NaN": torch.tensor(np.where(CODES == 1, np.nan, CODES)),
}


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
def test_missing_labels_are_no_class(labels):
    for made in (lambda: ClassBalancedSampler(labels, 2, 2), lambda: Triples(Numbered(), labels)):
        with pytest.raises(ValueError, match="missing ones; received one in row 2"):
            made()


def test_labels_of_several_kinds():
    mixed = np.array([1, "a"] * 9, dtype=object)
    with pytest.raises(TypeError, match="labels of one kind"):
        ClassBalancedSampler(mixed, 2, 2)
