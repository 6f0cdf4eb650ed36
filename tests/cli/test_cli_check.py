"""``nearfar check`` in processes of their own: crashes, limits, exit codes, JSON."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nearfar.check.batches import batches
from nearfar.check.target.calls import Outcome
from nearfar.check.target.forms import FORMS
from nearfar.check.target.probing import Probe, make_call
from nearfar.check.target.process import OwnProcess
from nearfar.check.target.targets import BadTarget, resolve, split
from nearfar.cli.app import app

TARGETS = Path(__file__).parents[1] / "support" / "targets"
SAMPLES = TARGETS / "samples.py"


VIEWS = Probe(FORMS["views"], "numpy", "float64", Outcome())


def run(*args):
    return CliRunner().invoke(app, ["check", *map(str, args)])


def test_a_good_target_passes_and_is_told_in_json():
    done = run(f"{SAMPLES}:nested_ntxent", "--expect", "ntxent", "--json", "--set",
               "temperature=0.2", "--only", "identity", "--only", "stability")  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout, parse_constant=pytest.fail)  # NaN is no JSON
    assert told["as_expected"] is True
    assert told["call"] == "stacked"
    assert told["identity"]["loss"]["temperature"] == 0.2
    assert told["identity"]["held_back"] == 6
    assert told["stability"]["temperature"]["float64"][0] < 0.01
    assert not told["cost"]


def test_the_page(tmp_path):
    page = tmp_path / "report.html"
    done = run(f"{SAMPLES}:squared_triplet", "--only", "identity", "--html", page)
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert '<p class="answer">It is Triplet(margin=0.2).</p>' in text
    assert "<pre>nf.Triplet(margin=0.2)(" in text
    assert "src=" not in text
    assert "href=" not in text
    nowhere = run(f"{SAMPLES}:squared_triplet", "--html", tmp_path / "none" / "report.html")
    assert nowhere.exit_code == 2
    assert "--html: expected a file in a folder that is there" in nowhere.stderr


def test_the_table():
    done = run(f"{SAMPLES}:squared_triplet", "--expect", "Triplet(distance='euclidean')")
    assert done.exit_code == 1
    assert "distance is 'sqeuclidean', expected 'euclidean'" in " ".join(done.stdout.split())
    answer, *table = done.stdout.splitlines()
    assert answer.startswith("It is Triplet(margin=0.2), which is not the expected Triplet(")
    assert max(map(len, table)) <= 80
    assert "... gradient" in done.stderr  # nobody waits for minutes without a word


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("crashes", 2, "its process crashed"),
        ("hangs", 2, "took more than 2 s and was ended"),
        ("takes_memory", 2, "MemoryError"),
        ("gives_nan", 1, "NaN or infinity"),
        ("wants_more", 2, "missing"),
    ],
)
def test_what_goes_wrong_is_a_finding(name, code, said):
    # Only what hangs is to meet its limit, whatever the machine does beside.
    limit = 2 if name == "hangs" else 120
    done = run(f"{SAMPLES}:{name}", "--time-limit", limit, "--call", "views", "--memory-limit", 512)
    assert done.exit_code == code, done.output
    assert said in " ".join(done.stdout.split())
    assert "Traceback" not in done.output


def test_forms_with_other_numbers_of_arguments_are_not_blamed():
    done = run(f"{SAMPLES}:fails")
    assert done.exit_code == 2
    assert "ValueError: no such luck" in " ".join(done.stdout.split())
    assert "positional" not in done.stdout


@pytest.mark.long
def test_importing_may_take_longer_than_a_call(tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\n\nimport nearfar as nf\n\ntime.sleep(4)\nf = nf.NTXent()\n")
    done = run(f"{slow}:f", "--time-limit", "3", "--only", "identity", "--call", "views")
    assert done.exit_code == 0, done.output


def test_prints_do_not_reach_the_report():
    done = run(f"{SAMPLES}:prints", "--call", "views", "--json", "--only", "identity")
    told = json.loads(done.stdout)
    assert "so far so good" not in done.stdout
    assert any("prints" in f["text"] for f in told["findings"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["samples"], "expected TARGET as module:function"),
        (["no_such_module_at_all:f"], "cannot import"),
        (["no_such.py:f"], "there is no file"),
        ([f"{SAMPLES}:absent"], "has no 'absent'"),
        ([f"{SAMPLES}:prints(open('x'))"], "cannot read"),
        ([f"{SAMPLES}:prints", "--set", "colour=3"], "takes no argument 'colour'"),
        ([f"{SAMPLES}:prints", "--set", "colour"], "NAME=VALUE"),
        ([f"{SAMPLES}:prints", "--only", "speed"], "expected parts among"),
        ([f"{SAMPLES}:prints", "--call", "sideways"], "expected call to be one of"),
        ([f"{SAMPLES}:prints", "--expect", "nosuchloss"], "expected a loss such as"),
    ],
)
def test_bad_requests_are_one_line(args, said):
    done = run(*args)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_target_has_one_thread():
    """Threads of many processes wait for one another, and time and memory tell nothing."""
    with OwnProcess(f"{SAMPLES}:threads", {}, 120, 2**30) as runner:
        call = make_call(VIEWS, batches("views", 1)[0], {})
        assert runner.run([call])[0].value == 1


def test_a_process_that_died_is_started_again():
    with OwnProcess(f"{SAMPLES}:crashes", {}, 120, 2**30) as runner:
        call = make_call(VIEWS, batches("views", 1)[0], {})
        assert [o.died for o in runner.run([call])] == ["crash"]
        assert [o.died for o in runner.run([call])] == ["crash"]


def test_arguments_are_literals():
    assert split("m:C(0.5, mode='x')") == ("m", "C", (0.5,), {"mode": "x"})
    with pytest.raises(BadTarget, match="literals"):
        split("m:C(__import__('os'))")
    target = resolve(f"{TARGETS / 'torch_samples.py'}:TwiceNTXent(0.3)")
    assert target.arguments == {"temperature": 0.3}
