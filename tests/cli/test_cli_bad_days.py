"""Bad days: kills, two runs in one folder, full disks, folders that go away, closed streams."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support.cli import assert_matches, read_arrays

COMMAND = [sys.executable, "-m", "nearfar.cli"]
FILES = ["README.md", "embedding.png", "log.jsonl", "metrics.json", "model.npz", "report.html"]
needs_locks = pytest.mark.skipif(os.name != "posix", reason="locks of files are the kernel's here")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def slow(tmp_path):
    """Arguments of a fit that goes on until it is killed."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "noise.npz", X=rng.normal(size=(2000, 40)), y=rng.integers(0, 2, 2000))
    options = ("--components", 20, "--temperature", 0.02, "--max-iter", 10**6, "--patience", 10**6)
    return ("fit", tmp_path / "noise.npz", *options)


def started(args, out):
    """A fit in a process of its own that has begun to learn."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, args), "--out", str(out)], stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("learning 1/"):
            return process
    raise AssertionError("it never began")


@pytest.mark.long
@needs_locks
def test_two_runs_into_one_folder_and_a_kill(run, refused, trained, slow, tmp_path):
    out = tmp_path / "out"
    first = started(slow, out)
    try:
        quick = ("fit", trained.npz, "--components", 2, "--max-iter", 2, "--out", out)
        assert_matches(refused(*quick), r"--out: another run is at work in .*out; wait")
        assert names(out) == [".nearfar.lock"]  # the first one's claim is whole
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert run(*quick).exit_code == 0  # the kernel has freed what the killed run held
    assert names(out) == FILES


@needs_locks
def test_a_run_removes_only_stages_that_nobody_holds(run, trained, tmp_path):
    from nearfar.cli.files import _locked, staged

    abandoned, foreign = tmp_path / ".nearfar-abandoned", tmp_path / ".nearfar-foreign"
    for folder in (abandoned, foreign):
        folder.mkdir()
        (folder / "model.npz").write_text("half")
    (abandoned / ".nearfar.lock").touch()
    with staged(tmp_path) as mine, _locked(foreign / ".nearfar.lock"):
        args = ("fit", trained.npz, "--components", 2, "--max-iter", 2, "--out", tmp_path)
        assert run(*args).exit_code == 0
        assert mine.exists()
        assert (foreign / "model.npz").read_text() == "half"
    assert not abandoned.exists()


def test_a_folder_that_goes_away_is_made_again(run, trained, tmp_path, monkeypatch):
    import shutil

    import nearfar.cli.commands.fit as fit

    learn = fit.learn_projection

    def learn_and_lose(*args, **options):
        shutil.rmtree(tmp_path / "out")
        return learn(*args, **options)

    monkeypatch.setattr(fit, "learn_projection", learn_and_lose)
    args = ("fit", trained.npz, "--components", 2, "--max-iter", 2, "--out", tmp_path / "out")
    assert run(*args).exit_code == 0
    assert names(tmp_path / "out") == FILES


def test_a_full_disk_leaves_the_older_results(run, trained, tmp_path, monkeypatch):
    args = ("fit", trained.npz, "--components", 2, "--out", tmp_path)
    assert run(*args, "--max-iter", 2).exit_code == 0
    before = {name: (tmp_path / name).read_bytes() for name in FILES}

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run(*args, "--max-iter", 3, "--overwrite")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


@pytest.mark.long
def test_a_reader_that_goes_away_loses_no_result(trained, tmp_path):
    args = ("fit", trained.npz, "--components", 2, "--max-iter", 2, "--out", tmp_path / "out")
    with subprocess.Popen(
        [*COMMAND, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=240)
    assert "Traceback" not in err
    assert names(tmp_path / "out") == FILES


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="streams are closed by a shell")
def test_closed_streams_no_home_and_plain_locale(trained, tmp_path):
    env = {key: value for key, value in os.environ.items() if key not in ("HOME", "MPLCONFIGDIR")}
    env |= {"LANG": "C", "LC_ALL": "C", "HOME": "/nonexistent"}
    command = " ".join([*COMMAND, "fit", str(trained.npz), "--components", "2", "--max-iter", "2"])
    done = subprocess.run(
        ["sh", "-c", f"{command} --out {tmp_path}/out >&- 2>{tmp_path}/err"], env=env, timeout=240
    )
    text = (tmp_path / "err").read_text()
    assert "Traceback" not in text, text
    assert done.returncode == 0, text
    assert names(tmp_path / "out") == FILES


def huge_npz(folder):
    """An archive whose array claims 2^31 rows."""
    import io
    import zipfile

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (2**31, 64)}
    )
    path = folder / "huge.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", header.getvalue() + b"\0" * 64)
        archive.writestr("y.npy", header.getvalue() + b"\0" * 64)
    return path


def huge_idx(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + (2**31).to_bytes(4) + (28).to_bytes(4) * 2 + b"\0" * 64)
    return path


def gzip_bomb(folder):
    """A few hundred kilobytes that unpack to 200 MB beyond what the header says."""
    import gzip

    path = folder / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"\0\0\x08\x03" + (2).to_bytes(4) + (2).to_bytes(4) * 2)
        for _ in range(200):
            file.write(bytes(2**20))
    return path


@pytest.mark.parametrize("make", [huge_npz, huge_idx, gzip_bomb])
def test_files_that_claim_what_they_do_not_hold(refused, tmp_path, make):
    import tracemalloc

    path = make(tmp_path)
    tracemalloc.start()
    line = refused("fit", path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_matches(line, r"huge.npz is damaged|get the file again")
    if make is not huge_npz:  # NumPy asks for the room, and the kernel gives none of it
        assert peak < 60 * 2**20


def test_missing_packages_are_named_with_the_remedy():
    code = (
        "import sys; sys.modules['{0}'] = None; sys.argv = ['nearfar', 'fit', 'digits']\n"
        "from nearfar.cli import main; main()"
    )
    for package in ("sklearn", "pandas", "matplotlib"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(package)],
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 2
        assert_matches(
            done.stderr, rf"^error: this command needs {package}, .*pip install 'nearfar\[cli\]'$"
        )


@pytest.mark.long
def test_arrays_stay_whole_whenever_a_run_is_killed(slow, tmp_path):
    process = started(slow, tmp_path / "out")
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for path in (tmp_path / "out").rglob("*.npz"):
        assert read_arrays(path)
    assert not (tmp_path / "out" / "model.npz").exists()
