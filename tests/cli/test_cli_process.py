"""The command line as a process of its own: entry point, Ctrl-C, broken pipes, quick help."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

COMMAND = [sys.executable, "-m", "nearfar.cli"]


def start(*args: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def endless(tmp_path):
    """Arguments of a fit that would take minutes: labels without a pattern, a million steps."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "noise.npz", X=rng.normal(size=(2000, 40)), y=rng.integers(0, 2, 2000))
    return (
        "fit", tmp_path / "noise.npz", "--components", 20, "--temperature", 0.02,
        "--max-iter", 1_000_000, "--patience", 1_000_000, "--out", tmp_path / "out",
    )  # fmt: skip


def test_version_and_help():
    import nearfar

    with start("--version") as process:
        assert process.communicate(timeout=240) == (f"nearfar {nearfar.__version__}\n", "")
    with start("--help") as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0
    assert err == ""
    assert "\x1b" not in out
    for command in ("fit", "transform", "predict", "evaluate", "losses", "presets", "check"):
        assert command in out


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom nearfar.cli import main\nsys.argv = ['nearfar', 'fit', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'scipy', 'sklearn', 'pandas', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=240)


def test_without_typer_the_remedy_is_told():
    code = "import sys; sys.modules['typer'] = None; from nearfar.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode != 0
    assert (
        done.stderr == "error: the command line needs more packages: pip install 'nearfar[cli]'\n"
    )


@pytest.fixture
def listening():
    """Shells start background jobs, and so perhaps these tests, deaf to Ctrl-C; so is a child."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_progress_on_a_terminal_and_ctrl_c_keeps_the_best_so_far(endless, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, endless)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown, interrupted = "", False
    with suppress(OSError):  # Linux ends a closed terminal by an error
        while chunk := os.read(ours, 4096).decode():
            shown += chunk
            if not interrupted and re.search(r"learning [1-9]\d*/1000000", shown):
                process.send_signal(signal.SIGINT)
                interrupted = True
    os.close(ours)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, shown
    assert re.search(r"loss \d+\.\d{4}", shown)
    assert "time left" in shown
    assert "of 1000000 iterations: going on with the best projection so far" in shown
    assert "Traceback" not in shown
    assert "\x1b" in shown
    assert "\x1b" not in out
    assert "learned" in out
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["settings"]["interrupted"] is True
    assert 0 < report["settings"]["iterations"] < 1_000_000
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "log.jsonl", "metrics.json", "model.npz"} < written


@pytest.mark.long
@pytest.mark.usefixtures("listening")
def test_ctrl_c_elsewhere_ends_with_one_line(endless, tmp_path):
    # Interrupted while it is drawing: after the learning, before anything is moved into place.
    code = (
        "import signal, sys, nearfar.cli.commands.fit as fit\n"
        "fit.draw = lambda *args: signal.raise_signal(signal.SIGINT)\n"
        "from nearfar.cli import main\nsys.argv[0] = 'nearfar'\nmain()\n"
    )
    args = [str(arg) for arg in (*endless, "--max-iter", 1)]
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "error: interrupted, nothing written"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_closed_pipe_is_no_error():
    with start("losses") as process:
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=240)
    assert "Traceback" not in err
    assert "error" not in err


def test_ascii_terminals(tmp_path):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for args in (("losses",), ("losses", "supcon"), ("--help",)):
        with start(*args, env=env) as process:
            _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
