"""The benchmark on a GPU: its answers, and a dry run of all its statements."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.answers import answers
from benchmarks.gpu.table import report, table

ROOT = Path(__file__).parents[2]
GOALS = 15


def row(loss, n, d, dtype, who, ms, mib=100.0):
    return {
        "loss": loss, "n": n, "d": d, "dtype": dtype, "who": who, "ms": ms, "MiB": mib,
        "result MiB": 32.0,
    }  # fmt: skip


MADE_UP = {
    "machine": {"device": "a card", "torch": "2", "float32 TFLOP/s": 50.0, "bfloat16 TFLOP/s": 500},
    "correct": {
        "NTXent float32": {
            "dtype": "float32", "value": 1e-7, "gradient": 1e-6, "rounded exactly": 0.2,
            "same bits": True, "kernel": "triton", "waits": 0,
        },
        "SupCR bfloat16": {
            "dtype": "bfloat16", "value": 2e-6, "gradient": 1e-3, "rounded exactly": 0.999,
            "same bits": True, "kernel": "none", "waits": 1,
        },
        "HCL bfloat16": {"failed": "error"},
    },
    "streams and graphs": {"graph NTXent": {"right": True}, "graph SupCR": {"right": False}},
    "goals": [
        row("NTXent", 4096, 128, "float32", "nearfar", 0.25),
        row("NTXent", 4096, 128, "float32", "dense", 0.6),
        row("NTXent", 4096, 128, "float32", "dense, autocast", 0.4),
        row("NTXent", 4096, 128, "bfloat16", "nearfar", 0.15),
        row("NTXent", 256, 128, "float32", "nearfar", 0.2),
        row("NTXent", 256, 128, "float32", "dense", 0.1),
        row("CLIP", 65_536, 512, "bfloat16", "nearfar", 60.0),
        row("CLIP", 65_536, 512, "bfloat16", "memeff", 75.0),
        {"loss": "CLIP", "failed": "out of memory"},
    ],
    "times, so far": [row("NTXent", 65_536, 128, "float32", "nearfar", 43.0, 280.0)],
    "times": "failed: out of time",
}  # fmt: skip


def test_each_goal_is_answered():
    found = {answer.goal: answer for answer in answers(MADE_UP)}
    assert len(found) == GOALS

    def said(words):
        (answer,) = [a for goal, a in found.items() if words in goal]
        return answer.met, answer.figure

    assert said("ends in an error") == (False, "HCL bfloat16")
    assert said("every value") == (False, "1 of 2 calls; not SupCR bfloat16")
    assert said("every float32 gradient") == (True, "1 of 1 calls")
    assert said("no wait") == (True, "2 of 2 calls")
    assert said("graphs and compiled") == (False, "1 of 2; not graph SupCR")
    never = (False, "least 0.50 (NTXent 256 x 128 float32), 1 of 2 sizes")
    assert said("never slower") == never
    full = said("float32 from 4,096 rows on at least 2")
    assert full == (True, "least 2.40 (NTXent 4,096 x 128 float32), 1 of 1 sizes")
    assert said("6 times")[0] is False
    assert said("3 times")[1].startswith("least 2.67")
    assert said("memeff")[0] is True
    assert said("siglip-kernel") == (None, "")
    # 2 units of 2 n^2 d at 500 TFLOP/s are 0.017 ms; all others are within twice theirs.
    floor = (False, "most 8.73 (NTXent 4,096 x 128 bfloat16), 3 of 4 sizes")
    assert said("bare products") == floor
    assert said("256 MiB") == (True, "most 248 MiB (NTXent 65,536 x 128 float32)")


def test_of_nothing_nothing_is_said():
    assert [a.met for a in answers({"machine": "failed"})] == [None] * GOALS
    assert str(answers({})[0]) == "no call ends in an error: not measured"


def test_the_report_has_answers_and_times():
    text = report(MADE_UP)
    assert text.startswith("a card, PyTorch 2")
    assert "- CLIP 65,536 x 512 bfloat16 ahead of memeff: met; least 1.25" in text
    head, rule, *rows = table(MADE_UP).splitlines()
    assert head == "| loss, rows x features | nearfar | dense | dense, autocast | memeff |"
    assert rule.count("|---") == 5
    assert "| NTXent 256 x 128 float32 | 0.20 (100) | 0.10 (100) |  |  |" in rows


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu"])
    assert main() == 0
    assert "nothing was measured" in capsys.readouterr().out


@pytest.mark.long
def test_every_section_runs_dry(tmp_path):
    pytest.importorskip("triton")
    path = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", str(path)],
        env=os.environ | {"DRY": "1", "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(path.read_text())
    assert set(found) == {
        "machine", "compiling", "correct", "goals", "streams and graphs", "largest", "times",
        "blocks",
    }  # fmt: skip
    assert not [x for x in found.values() if not x or str(x).startswith("failed")]
    failed = [x for some in found.values() if isinstance(some, list) for x in some if "failed" in x]
    assert not failed
    assert not [k for k, x in found["correct"].items() if "failed" in x]
    assert all(x["right"] for x in found["streams and graphs"].values())
    assert sum(line.startswith("- ") for line in done.stdout.splitlines()) == GOALS
