"""Without a package of an extra, what needs it says so in one sentence."""

import subprocess
import sys

import pytest

# A name that is asked for, the packages that are missing, and the extra that brings them.
ENTRIES = {
    "import nearfar.torch": ("torch", "nearfar.torch", "torch"),
    "import nearfar.torch.distributed": ("torch", "nearfar.torch", "torch"),
    "import nearfar.keras": ("keras", "nearfar.keras", "keras"),
    "import nearfar.jax": ("jax", "nearfar.jax", "jax"),
    "import nearfar.sklearn": ("sklearn", "nearfar.sklearn", "sklearn"),
    "from nearfar.sklearn import ContrastiveProjection": ("scipy", "nearfar.sklearn", "sklearn"),
    "nf.NTXent().explain(a, a).plot()": ("matplotlib", "plot", "cli"),
    "nf.metrics.knn_accuracy(a, [0, 0, 1], k=1, metric='cityblock')": (
        "scipy",
        "nearfar.metrics",
        "sklearn",
    ),
    "nf.metrics.alignment(a, [0, 0, 1], alpha=1)": ("scipy", "nearfar.metrics", "sklearn"),
    "nf.metrics.knn_r2(a, [0, 2, 1], k=1)": ("sklearn", "nearfar.metrics", "sklearn"),
}


PROGRAM = """
import sys
package, *entries = sys.argv[1:]
sys.modules[package] = None
import numpy as np, nearfar as nf
a = np.eye(3) + 0.1
for entry in entries:
    try:
        exec(entry)
    except ModuleNotFoundError as error:
        print(error)
"""


@pytest.mark.parametrize("package", sorted({package for package, *_ in ENTRIES.values()}))
def test_one_sentence_with_the_remedy(package):
    entries = [entry for entry, (missing, *_) in ENTRIES.items() if missing == package]
    command = [sys.executable, "-c", PROGRAM, package, *entries]
    done = subprocess.run(command, capture_output=True, text=True)
    remedies = [
        f"{who} needs {package}, which is not installed: pip install 'nearfar[{extra}]'"
        for _, who, extra in (ENTRIES[entry] for entry in entries)
    ]
    assert done.stdout.splitlines() == remedies, done.stderr[-800:]


def test_another_fault_keeps_its_message(tmp_path):
    from nearfar.extras import explained

    error = ModuleNotFoundError("No module named 'nearfar.other'", name="nearfar.other")
    assert explained(error, "nearfar.torch", "torch") is error
