"""The rank correlation of targets, where different neighbours have the same mean."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import spearmanr

from nearfar.cli.report.scores import Space
from nearfar.cli.tasks.targets import Targets


@pytest.mark.parametrize("scale", ["0.1", "1e-9", "7e8"])
def test_means_that_are_equal_but_for_rounding_tie(scale):
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(80, 2)), rng.normal(size=(70, 2))
    units, y = rng.integers(1, 4, 80), rng.normal(size=70)
    targets = [Decimal(scale) * int(k) for k in units]
    space = Space(train=train, held_out=held_out, metric="euclidean", seconds=0.0)
    values = np.array([float(t) for t in targets])
    got = Targets(values, "target").score(space, values, y).spearman
    near = [sorted(range(80), key=lambda j: ((train[j] - q) ** 2).sum())[:15] for q in held_out]
    means = [Fraction(int(units[rows].sum()), 15) for rows in near]
    want = spearmanr(y, [sorted(set(means)).index(mean) for mean in means]).statistic
    assert len(set(means)) < 40
    assert got == pytest.approx(want, abs=1e-12)
