"""Where a run was made."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

_PACKAGES = (
    "numpy", "torch", "jax", "jaxlib", "tensorflow-cpu", "tensorflow", "nearfar", "threadpoolctl",
    "lightly", "pytorch-metric-learning", "open_clip_torch", "sentence-transformers",
    "info-nce-pytorch", "optax",
)  # fmt: skip


def machine(threads: int) -> dict[str, Any]:
    installed = {d.metadata["Name"]: d.version for d in distributions()}
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "load when started": os.getloadavg()[0],
        "threads": threads,
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: installed[name] for name in _PACKAGES if name in installed},
    }


def _field(path: str, key: str) -> str:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith(key)), "")
