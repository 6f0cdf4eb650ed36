"""JAX over eight devices: `shard_map` with its defaults, meshes of explicit axes, `pmap`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.backends import QUICK_JAX

SCRIPT = Path(__file__).with_name("several_devices.py")


def differences(*arguments):
    """What the script printed: how far each way is from one device."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=1200,
        env=os.environ | QUICK_JAX,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())


def held(found, least):
    assert len(found) >= least
    wrong = {name: told for name, told in found.items() if not told[0].isdigit()}
    assert not wrong
    assert {name for name, told in found.items() if float(told) > 1e-12} == set()


def test_as_meshes_are_made():
    held(differences("few", "NTXent", "SupCon", "SupCR", "pairwise euclidean"), 9)


@pytest.mark.long
def test_every_loss_and_measure():
    held(differences("all"), 53)
