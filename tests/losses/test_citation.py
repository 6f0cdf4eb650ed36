"""BibTeX that is read off what losses say of their sources."""

import re

import pytest

import nearfar as nf
from nearfar.losses import LOSSES
from nearfar.losses.citation import citation

TRIPLET = "In Defense of the Triplet Loss for Person Re-Identification"


def fields(entry):
    return dict(re.findall(r"^    (\w+) = \{(.*)\},$", entry, re.MULTILINE))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_every_loss_names_a_paper(loss):
    entry = citation(loss())
    assert entry.startswith(f"@misc{{nearfar:{loss.__name__.lower()},\n")
    assert entry.count("{") == entry.count("}")
    found = fields(entry)
    assert re.fullmatch(
        r"(?:van den )?[A-Z][\w-]+(?: and (?:[A-Z][\w-]+|others))*", found["author"]
    )
    assert 1990 < int(found["year"]) < 2030
    assert "," not in found["title"]


@pytest.mark.parametrize(
    ("loss", "author", "title", "where"),
    [
        (
            nf.InfoNCE(),
            "van den Oord and others",
            "Representation Learning with Contrastive Predictive Coding",
            {"eprint": "1807.03748"},
        ),
        (
            nf.PairMargin(),
            "Hadsell and Chopra and LeCun",
            "Dimensionality Reduction by Learning an Invariant Mapping",
            {"doi": "10.1109/CVPR.2006.100"},
        ),
        (nf.BatchTriplet(), "Hermans and others", TRIPLET, {"eprint": "1703.07737"}),
        (nf.Lifted(), "Hermans and others", TRIPLET, {"eprint": "1703.07737"}),
        (
            nf.NPair(),
            "Sohn",
            "Improved Deep Metric Learning with Multi-class N-pair Loss Objective",
            {},
        ),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, nf.Loss) else "",
)
def test_entries(loss, author, title, where):
    found = fields(citation(loss))
    assert (found["author"], found["title"]) == (author, title)
    assert {key: found[key] for key in ("eprint", "doi") if key in found} == where


def test_losses_of_losses_have_theirs_too():
    found = citation(nf.Matryoshka(nf.SupCon(), dims=(2, 4)))
    assert "nearfar:matryoshka," in found
    assert found.count("nearfar:supcon,") == 1
    assert citation(nf.SupCon() + nf.SupCon(temperature=0.2)) == citation(nf.SupCon())
