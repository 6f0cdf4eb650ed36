"""report.html: one file that asks for nothing, and tells of every point what it is."""

import re

import numpy as np
import pytest
from support.browser import CHROMIUM, browser

from nearfar.cli.report.colouring import ByClass, ByNumber
from nearfar.cli.report.thumbnails import thumbnails

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
READY = "window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle"


@pytest.fixture(scope="module")
def tab():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two classes of small pictures: a bar that stands, a bar that lies."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 60, size=(60, 8, 8)).astype(np.uint8)
    y = np.arange(60) % 2
    X[y == 0, :, 3:5] += 180
    X[y == 1, 3:5, :] += 180
    path = tmp_path_factory.mktemp("images") / "bars.npz"
    np.savez(path, X=X, y=np.array(["stands", "lies"])[y])
    return path


def read(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_says_what_was_done(trained):
    text = read(trained.folder)
    assert "trees: 27 held-out rows, 3 classes" in text
    assert f"nearfar fit {trained.csv} --label tree --field similarity=cosine" in text
    assert "--field positives=mean_log --components 2 --max-iter 30 --out" in text
    assert "Confusions" in text
    assert "held_out_rows" in text


def test_nothing_is_asked_for(trained):
    text = read(trained.folder)
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", text)
    assert len(text) < 2_000_000


def test_names_are_text_on_the_page(run, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "x.npz", X=X, y=np.array(["<b>ash</b>", "a & b"])[np.arange(40) % 2])
    result = run("fit", tmp_path / "x.npz", "--components", 2, "--max-iter", 2, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "<b>ash" not in read(tmp_path)


def test_images_are_found_where_they_are_said_to_be():
    rows = np.random.default_rng(0).integers(0, 255, size=(7, 4, 6), dtype=np.uint8)
    import base64
    import io

    from PIL import Image

    found = thumbnails(rows)
    sheet = Image.open(io.BytesIO(base64.b64decode(found.uri.partition(",")[2])))
    shown = [int(size.removesuffix("px")) for size in found.sheet.split()]
    times = shown[0] // sheet.width
    assert (found.width, found.height) == (6 * times, 4 * times)
    for row, place in zip(rows, found.places, strict=True):
        x, y = (-int(part.removesuffix("px")) // times for part in place.split())
        np.testing.assert_array_equal(np.asarray(sheet)[y : y + 4, x : x + 6], row)


def test_thousands_of_large_images_become_small():
    noise = np.random.default_rng(0).integers(0, 255, size=(1500, 48, 48, 3), dtype=np.uint8)
    found = thumbnails(noise)
    assert len(found.uri) < 3_500_000
    assert found.uri.startswith("data:image/jpeg")


def test_colours_of_a_page_are_those_of_the_picture():
    key = ByClass(np.array([1, 0, 1]), np.array(["ash", "elm"])).on_a_page()
    assert key.groups == ["elm", "ash", "elm"]
    assert key.names == ["ash", "elm"]
    assert key.colours[0] == key.colours[2] != key.colours[1]
    many = ByClass(np.repeat(np.arange(30), np.arange(1, 31)), np.arange(30)).on_a_page()
    assert many.names[-1] == "others"
    assert many.groups[0] == "others"
    numbers = ByNumber(np.array([3.0, 1.0, 2.0]), "age").on_a_page()
    assert numbers.scale[:2] == (1.0, 3.0)
    assert len(set(numbers.colours)) == 3


@needs_chromium
def test_pointing_at_a_row_of_a_table_tells_what_it_is(tab, trained, blobs):
    tab.open(trained.folder / "report.html").until(READY)
    told = tab.point_at_a_row(0, 5)
    found = re.search(r"row trees.csv, line (\d+) .*\nlabel (\w+)", told)
    assert blobs.frame["tree"][int(found[1]) - 2] == found[2]
    assert len(re.findall(r"(?:ash|elm|oak) \(line \d+\)", told)) == 3
    assert not tab.errors
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []


@needs_chromium
def test_pointing_at_an_image_shows_it(tab, run, images, tmp_path):
    out = tmp_path / "out"
    result = run("fit", images, "--components", 2, "--max-iter", 3, "--out", out)
    assert result.exit_code == 0, result.output
    tab.open(out / "report.html").until(READY)
    assert re.search(r"label (stands|lies)", tab.point_at_a_row(1, 0))
    assert not tab.errors


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_targets_on_a_screen_and_on_a_phone(tab, trained_on_targets, width):
    tab.open(trained_on_targets.folder / "report.html", width, phone=width < 500).until(READY)
    assert "Predictions" in tab.value("document.body.innerText")
    assert not tab.scrolls_sideways()
    assert not tab.errors
