"""Every example runs from any folder and prints a number within its tolerance."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
NUMBER = r"-?\d+\.\d+"
LAST_LINE = re.compile(rf"\S.* ({NUMBER}) \(expected ({NUMBER}) to ({NUMBER})\)")


def needs(text):
    """Packages beside the test requirements, which an example names."""
    found = re.search(r"^Needs: (.*)\.$", text, re.MULTILINE)
    return found[1].split(", ") if found else []


every_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def test_there_are_examples():
    assert len(EXAMPLES) >= 10


@every_example
def test_described(path):
    text = path.read_text(encoding="utf-8")
    opening = text.split('"""')[1]
    for part in (f" examples/{path.name} --seed 0", "Expected:", "2 cores", "Data:"):
        assert part in opening
    assert f"]({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.long
@every_example
def test_small(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    for package in needs(text):
        pytest.importorskip(package)
    start = [sys.executable]
    if "torchrun --" in text:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*start, str(path), "--small", "--seed", "0"],
        cwd=tmp_path,
        env=os.environ | {"NEARFAR_DATA": str(tmp_path)},  # small runs need no download
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = LAST_LINE.fullmatch(done.stdout.splitlines()[-1])
    assert found, done.stdout
    value, low, high = map(float, found.groups())
    assert low <= value <= high
