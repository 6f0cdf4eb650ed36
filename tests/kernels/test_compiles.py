"""The kernels compiled for GPUs that are not here, in a process where nothing is interpreted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

TESTS = Path(__file__).parents[1]
# A thread's bytes beyond its registers, which go through memory.
SPILLED = 128

PROGRAM = """
import json, sys
import torch
sys.path.insert(0, {tests!r})
import nearfar as nf
from nearfar.frameworks.torch import namespace
from nearfar.frameworks.triton import partition
from support.compiling import Recorder, compiled, resources

namespace._FUSED = {{"cpu"}}
recorder = Recorder()
partition.Launcher = lambda *_: recorder
target, dtype, names = sys.argv[1], getattr(torch, sys.argv[2]), sys.argv[3].split(",")
x = torch.randn(256, 128).to(dtype)
labels = torch.zeros(256, dtype=torch.int64)
losses = {{
    "NTXent": (nf.NTXent(), (x, x)),
    "SupCon": (nf.SupCon(), (x, labels)),
    "CLIP": (nf.CLIP(), (x, x)),
    "SigLIP": (nf.SigLIP(), (x, x)),
    "HCL": (nf.HCL(), (x, x)),
    "own_positive": (nf.SupCon(denominator="own_positive"), (x, labels)),
    "guarded": (nf.CLIP(temperature=0.01), (x, x)),
    "guarded HCL": (nf.HCL(temperature=0.01), (x, x)),
    "learned": (nf.NTXent(), (x, x)),
}}
for name in names:
    recorder.launches.clear()
    loss, inputs = losses[name]
    named = {{"temperature": torch.tensor(0.5)}} if name == "learned" else {{}}
    loss.value_and_grad(*inputs, **named)
    for launch in recorder.launches:
        found = resources(compiled(launch, target))
        print(json.dumps([name, launch.name, found]), flush=True)
"""


# What is learned holds what is fixed. In groups, since a group is a process.
COMMON = [
    ["learned", "CLIP", "guarded"],
    ["SigLIP", "HCL", "guarded HCL"],
    ["SupCon", "own_positive"],
]


def programs(target, dtype, names):
    clean = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    code = PROGRAM.format(tests=str(TESTS))
    command = [sys.executable, "-c", code, target, dtype, ",".join(names)]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.long
def test_for_hopper():
    found = programs("sm_90", "bfloat16", ["NTXent"])
    assert len(found) == 5
    products = {name: used["HGMMA"] for _, name, used in found if used["HGMMA"]}
    assert set(products) == {"accumulate", "pull"}
    assert all(used["STACK"] <= SPILLED for *_, used in found), found
    assert all(used["SHARED"] <= 232_448 for *_, used in found), found


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("names", COMMON, ids=" ".join)
def test_no_common_program_spills(names, dtype):
    for name, kernel, used in programs("sm_90", dtype, names):
        assert used["STACK"] <= SPILLED, (name, kernel, used)
        assert used["SHARED"] <= 232_448, (name, kernel, used)


@pytest.mark.long
@pytest.mark.parametrize("target", ["sm_80", "gfx942"])
def test_for_other_devices(target):
    assert programs(target, "bfloat16", ["NTXent", "SigLIP", "SupCon"])
