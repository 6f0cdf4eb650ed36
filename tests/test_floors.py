"""The oldest versions that are promised are those that are tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Kernels need a PyTorch and a Triton of one build, on Linux: a range of its own, in no other extra.
EXTRAS = {
    name: packages for name, packages in PROJECT["optional-dependencies"].items() if name != "gpu"
}
FLOOR = re.compile(r"([\w-]+)>=([\w.]+)$")


def floors():
    named = [*PROJECT["dependencies"], *(p for extra in EXTRAS.values() for p in extra)]
    return dict(FLOOR.match(p).groups() for p in named if not p.startswith("nearfar["))


def pinned():
    lines = (ROOT / "requirements-oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    return pins | {"tensorflow": pins["tensorflow-cpu"]}


def numbers(version):
    return [int(part) for part in version.split(".")] + [0] * (3 - len(version.split(".")))


@pytest.mark.parametrize("package", floors())
def test_a_floor_is_what_is_tested(package):
    assert numbers(floors()[package]) == numbers(pinned()[package])


def test_all_brings_every_extra():
    (every,) = EXTRAS["all"]
    assert every == f"nearfar[{','.join(sorted(set(EXTRAS) - {'all'}))}]"
