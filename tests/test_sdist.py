"""An sdist holds everything its own tests read."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BROUGHT_BY_HATCHLING = {".gitignore", "pyproject.toml"}


def test_all_that_is_tracked_goes_along():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    tracked = set(listed.stdout.split()) - BROUGHT_BY_HATCHLING
    assert [n for n in sorted(tracked) if not any(fnmatch(n, p) for p in patterns)] == []
