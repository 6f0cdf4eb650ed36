"""Who meets whom over ranks: value and gradients of each call are those of one process."""

import pickle
from pathlib import Path

import pytest
from support import ranks

HERE = Path(__file__).parent
REFUSED = {
    "words": "TypeError: expected ids to be numbers, which can be sent to other ranks",
    "shifted ids": "expected as many rows of a and b and ids on every rank; received on rank 0",
    "labels elsewhere": "expected as many rows of reference and reference_labels on every rank",
    "a pair for views": "received a pair of arrays, which two sides take",
    "three guides": "expected guide as an array, or as at most 2 of them; received 3",
    "no guide": "pass guide=",
    "ids on one rank": "expected ids of one shape and dtype on all ranks",
    "a ring": 'CLIP: expected a call that exchange="ring" serves',
}


def run(folder, count):
    processes = ranks.start(HERE / "worker_meetings.py", count, folder)
    try:
        ended = [(p, *p.communicate(timeout=600)) for p in processes]
    finally:
        for p in processes:
            p.kill()
    for p, _, errors in ended:
        assert p.returncode == 0, errors.decode()
    return [pickle.loads((folder / f"rank{r}.pkl").read_bytes()) for r in range(count)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return {n: run(tmp_path_factory.mktemp(f"meetings{n}"), n) for n in (2, 3)}


@pytest.mark.long
def test_ranks_compute_what_one_process_does(found):
    """Uneven shards, one of them empty; a reference or queue on one rank, and in parts on all."""
    for count, each in found.items():
        for rank, told in enumerate(each):
            assert len(told["compared"]) == 42
            wrong = {k: off for k, off in told["compared"].items() if not off <= 1e-11}
            assert wrong == {}, (count, rank)


@pytest.mark.long
def test_what_ranks_cannot_mean_is_refused_by_all(found):
    for each in found.values():
        for told in each:
            assert {k for k, w in REFUSED.items() if w not in told["refused"].get(k, "")} == set()
