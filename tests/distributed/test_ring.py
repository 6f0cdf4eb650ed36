"""Rows that go round the ranks: the gather's value and gradients, in the memory of own rows."""

import pickle
import re
import signal
from pathlib import Path

import pytest
from support import ranks

HERE = Path(__file__).parent


def run(folder, count, what):
    processes = ranks.start(HERE / "worker_ring.py", count, folder, what)
    try:
        ended = [(p, *p.communicate(timeout=600)) for p in processes]
    finally:
        for p in processes:
            p.kill()
    for rank, (p, _, errors) in enumerate(ended):
        killed = what == "values" and rank == 1
        assert p.returncode == (-signal.SIGKILL if killed else 0), errors.decode()
    return [pickle.loads((folder / f"rank{r}.pkl").read_bytes()) for r in range(count)]


@pytest.fixture(scope="module", params=[pytest.param(2, marks=pytest.mark.long), 3])
def found(request, tmp_path_factory):
    return run(tmp_path_factory.mktemp("ring"), request.param, "values")


def test_it_equals_the_gather(found):
    """Uneven shards, one of them empty; several blocks of rows."""
    for rank, told in enumerate(found):
        wrong = {k: off for k, off in told["compared"].items() if not off <= 1e-11}
        assert len(told["compared"]) == 14
        assert wrong == {}, rank
        assert told["halves"] <= 2e-2


def test_bytes_are_those_of_the_page(found):
    page = (HERE.parents[1] / "docs" / "scaling.md").read_text()
    table = page.split("## A ring")[1].split("##")[0]
    formulas = dict(re.findall(r"^\| (ring [a-z]+) \|.*\| `(.*)` \|$", table, re.MULTILINE))
    assert set(formulas) == {"ring sums", "ring rows"}
    count = len(found)
    for rank, told in enumerate(found):
        for (name, step), counted in told["counted"].items():
            shards = ranks.SHARDS[count][step]
            letters = {"n": sum(shards), "a": shards[(rank + 1) % count], "d": ranks.DIM}
            letters |= {"s": 4, "C": 2 if name == "CLIP" else 0}
            wanted = {what: eval(formula, {}, letters) for what, formula in formulas.items()}
            if name == "SigLIP":
                wanted.pop("ring sums")
            rest = {what: counted.pop(what, 0) for what in ("sizes", "sums")}
            assert rest["sums"] == pytest.approx(2 * (count - 1) / count * 4)
            assert counted == wanted, f"{name}, {count} ranks, rank {rank}"


@pytest.mark.long
def test_memory_is_that_of_the_own_rows(tmp_path_factory):
    """With a third rank visitors come while others go, one array of rows more, and with a fourth
    nothing; as many more of one's own cost as much again. The gather's is that of all rows."""
    two, three = (least(run(tmp_path_factory.mktemp("ring"), count, "memory")) for count in (2, 3))
    for name in ("CLIP", "SigLIP", "InfoNCE"):
        for rows in (512, 1024):
            visitors = rows * 64 * 4
            more = three["ring", name, rows] - two["ring", name, rows]
            assert 0.9 * visitors <= more <= 1.1 * visitors
            assert three["gather", name, rows] >= 1.4 * two["gather", name, rows]
        assert two["ring", name, 1024] <= 2.02 * two["ring", name, 512]
        assert three["ring", name, 1024] < 0.8 * three["gather", name, 1024]


def least(ranks):
    """Of the ranks: a thread of gloo's may hold the buffers of a finished gather for a while."""
    peaks = [told["peaks"] for told in ranks]
    return {key: min(each[key] for each in peaks) for key in peaks[0]}


def test_what_it_does_not_serve_is_refused(found):
    words = {
        "loss": 'ValueError: expected CLIP, SigLIP or InfoNCE for exchange="ring"',
        "word": 'expected exchange to be "gather" or "ring"; received \'star\'',
        "negatives": 'InfoNCE: expected a call that exchange="ring" serves',
        "kernel": "it takes no fused kernels",
        "hardness": "nothing beside, without hardness",
        "sizes": "expected as many rows of x and y on every rank",
    }
    for told in found:
        assert {k for k, w in words.items() if w not in told["refused"].get(k, "")} == set()


def test_a_killed_rank_ends_the_others(found):
    for rank in {*range(len(found))} - {1}:
        message, seconds = found[rank]["ended"]
        assert f"expected {len(found)} ranks to exchange" in message
        assert "another rank has ended or was late" in message
        assert 0 < seconds < ranks.TIMEOUT + 5
