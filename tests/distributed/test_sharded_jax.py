"""`nearfar.jax.sharded` inside `shard_map` and `pmap` over eight devices; see sharded_jax.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.backends import QUICK_JAX

# Where roundings and memory are at stake: JAX's programs as its users have them.
AS_USED = {"JAX_PLATFORMS": "cpu"}
SCRIPT = Path(__file__).with_name("sharded_jax.py")


def told(*tasks, env=QUICK_JAX):
    """What the script printed for each of its tasks, by the names of the lines."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *tasks],
        capture_output=True,
        text=True,
        timeout=1200,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    sections = done.stdout.split("--\n")[1:]
    return [dict(x.split(": ", 1) for x in told.splitlines() if ": " in x) for told in sections]


@pytest.fixture(scope="module")
def short():
    """Tasks of one process, whose imports take as long as most of them."""
    return told(
        *("ways", "NTXent", "CLIP", "InfoNCE with a queue", "SupCR"),
        *("--", "meetings", "ProxyNCA", "CLIP, ids"),
        *("--", "memory", "NTXent"),
        *("--", "refusals"),
        env=AS_USED,
    )


def hold(found, count):
    assert len(found) >= count
    hostile = {name: float(off) for name, off in found.items() if name.startswith("hostile")}
    assert {name for name, off in hostile.items() if not off <= 10} == set()
    others = found.keys() - hostile.keys()
    assert {name: found[name] for name in others if not float(found[name]) <= 1e-12} == {}


def test_the_value_and_the_gradient_of_the_whole_batch(short):
    """Of every evaluator, in every way of mapping, with shared queues, weights and parameters."""
    hold(short[0], 18)


def test_proxies_and_ids(short):
    """Proxies, which devices hold whole, and what is said of rows, which is cut with them."""
    hold(short[1], 2)


@pytest.mark.long
def test_whoever_meets_whom():
    hold(*told("meetings"), 18)


@pytest.mark.long
def test_every_registered_loss():
    hold(*told("every"), 38)


def grows_with_the_rows(found):
    """From 4,096 rows to 8,192. Logits of a device's own rows against all would take 8 and 32 MiB,
    those of NTXent's two views four times as much."""
    sizes = {name: [int(size) for size in both.split()] for name, both in found.items()}
    assert {name: size for name, size in sizes.items() if size[1] > 2.2 * size[0]} == {}
    return sizes


def test_memory_grows_with_the_rows(short):
    sizes = grows_with_the_rows(short[2])
    assert sizes["NTXent"][1] < 20 * 2**20


@pytest.mark.long
def test_memory_of_every_evaluator_grows_with_the_rows():
    assert len(grows_with_the_rows(*told("memory", env=AS_USED))) == 8


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("none", 'ValueError: expected a loss with reduction "mean" or "sum"'),
        ("no loss", "TypeError: expected loss to be a nearfar loss; received str"),
        ("outside", "ValueError: expected a call inside jax.shard_map or jax.pmap over d"),
        ("uneven", "ValueError: expected as many rows of a and b on every device; received a 3"),
        ("uneven labels", "as many rows of embeddings and labels on every device"),
        ("indivisible", "not evenly divisible"),  # which JAX says before any call
        ("alike", "expected a and b to differ from device to device over d"),
        ("no pool", "expected shared to name inputs that every device may hold whole"),
    ],
)
def test_refusals(short, what, words):
    assert words in short[3][what]
