"""The README's table of frameworks and modes, made from the tests' own parametrisation.

    python tests/modes/table.py

prints it; `test_readme.py` asks for the same lines in the README.
"""

import re
from pathlib import Path

from running import MODES

ROOT = Path(__file__).parents[2]
PACKAGES = {"NumPy": "numpy", "PyTorch": "torch", "TensorFlow": "tensorflow-cpu", "JAX": "jax"}
NUMPY = ["arrays", "read-only arrays", "threads (`workers`)"]


def table() -> list[str]:
    required = (ROOT / "requirements-test.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([\w-]+)==([\d.]+)$", required, re.MULTILINE))
    modes = {"NumPy": NUMPY, **{name: list(modes) for name, modes in MODES.items()}}
    rows = [
        f"| {name} | {versions[package]} | {'; '.join(modes[name])} |"
        for name, package in PACKAGES.items()
    ]
    return ["| framework | tested with | modes |", "|---|---|---|", *rows]


if __name__ == "__main__":
    print("\n".join(table()))
