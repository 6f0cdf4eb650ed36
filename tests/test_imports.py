"""What importing nearfar brings along."""

import subprocess
import sys

HEAVY = {"torch", "tensorflow", "jax", "keras", "sklearn", "scipy", "matplotlib", "pandas", "typer"}


def loaded(program: str) -> set[str]:
    code = f"import sys\n{program}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_base_import_is_light():
    assert not HEAVY & loaded("import nearfar")


def test_numpy_use_stays_light():
    program = "import nearfar as nf, numpy as np\nnf.NTXent().value_and_grad(np.eye(3), np.eye(3))"
    assert not HEAVY & loaded(program)


def test_torch_use_imports_no_other_framework():
    program = "import torch, nearfar as nf\nnf.NTXent()(torch.eye(3), torch.eye(3))"
    assert not {"tensorflow", "jax", "keras"} & loaded(program)
