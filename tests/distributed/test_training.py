"""Training on several processes is training on one with the whole batch."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import ranks

HERE = Path(__file__).parent


def _run(tmp_path: Path, count: int, mode: str) -> list[dict]:
    processes = ranks.start(HERE / "worker_training.py", count, tmp_path, mode)
    ended = [(p, *p.communicate(timeout=120)) for p in processes]
    for p, _, errors in ended:
        assert p.returncode == 0, errors.decode()
    return [pickle.loads((tmp_path / f"rank{r}.pkl").read_bytes()) for r in range(count)]


def _check(found: list[dict]) -> None:
    known: dict = {}
    for each in found:
        for (name, dtype, gradient, ddp), ours in each.items():
            if (name, dtype) not in known:
                known[name, dtype] = ranks.train(name, getattr(torch, dtype), False, "")
            tolerance = 1e-11 if dtype == "float64" else 1e-5
            one = known[name, dtype]
            told = f"{name}, {dtype}, {gradient}, DDP {ddp}"
            for x, y in zip(ours["parameters"], one["parameters"], strict=True):
                np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=told)
            np.testing.assert_allclose(ours["values"], one["values"], rtol=tolerance, err_msg=told)
    assert {name for name, *_ in known} == set(ranks.LOSSES)


def test_three_ranks_learn_what_one_learns(tmp_path):
    _check(_run(tmp_path, 3, "short"))


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3])
def test_every_dtype_and_scaling(tmp_path, count):
    _check(_run(tmp_path, count, "long"))
