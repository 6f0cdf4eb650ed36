"""The accelerator, where the machine has one; else the CPU."""

import os

import pytest
import torch

# What cuBLAS asks for in deterministic mode.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
