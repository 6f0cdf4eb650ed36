"""`nearfar.tensorflow.replicated`, and Keras, over two replicas; see replicas_tf.py."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("replicas_tf.py")


@pytest.fixture(scope="module")
def told():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


@pytest.mark.long
def test_the_value_and_the_gradient_of_the_whole_batch(told):
    """Of replicas with 7 and 5 rows; a queue, a reference and proxies are whole on both."""
    found = {name: float(off) for name, off in told.items() if " said" not in name}
    assert len(found) == 10
    kept = {name: off for name, off in found.items() if name.startswith("Keras")}
    assert len(kept) == 2
    assert {name: off for name, off in kept.items() if not off <= 1e-5} == {}
    others = {name: off for name, off in found.items() if name not in kept}
    assert {name: off for name, off in others.items() if not off <= 1e-12} == {}


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("none", 'ValueError: expected a loss with reduction "mean" or "sum"'),
        ("no pool", "expected shared to name inputs that every replica may hold whole"),
        ("shifted", "expected as many rows of a and b on every replica; received a 5, b 17"),
    ],
)
def test_refusals(told, what, words):
    assert words in told[f"{what} said"]
