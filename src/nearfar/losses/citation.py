"""BibTeX of what a loss says of its source."""

import inspect
import re

from nearfar.losses.base import Loss
from nearfar.losses.composed import Composed

_SOURCE = re.compile(r"^Source: (.+?)(?:\n\n|\Z)", re.DOTALL | re.MULTILINE)
_FIRST = re.compile(
    r'(?P<who>(?:(?:van|den|der|de|von) )*[A-Z][^,;"]*?(?:, [^,;"]+? and [^,;"]+?)?) '
    r"(?P<year>\d{4})(?:, (?!arXiv |doi |http)(?P<title>[^,;(]+?)(?: \([^)]*\))?)?(?=[,;]|$)"
    r"(?:[^;]*?(?:arXiv (?P<arxiv>\d{4}\.\d{5})|doi (?P<doi>10\.[^\s,;]+)))?"
)


def citation(loss: Loss) -> str:
    """An entry for the paper that the docstring of `loss` names first, with all of its source.

    A loss that is made of losses has theirs as well; one that names no source has none.

    >>> from nearfar import SupCon
    >>> print(citation(SupCon()).splitlines()[1])
        author = {Khosla and others},
    """
    parts = [term.loss for term in loss.terms_of()] if isinstance(loss, Composed) else []
    entries = [_entry(type(loss)), *(citation(part) for part in parts)]
    return "\n\n".join(dict.fromkeys(filter(None, entries)))


def _entry(cls: type) -> str:
    found = _SOURCE.search(inspect.getdoc(cls) or "")
    if found is None:
        return ""
    source, name = " ".join(found[1].split()), cls.__name__
    fields = {"title": name, "note": f"{name}: {source}"}
    first = _FIRST.search(source)
    if first is not None:
        who = first["who"].replace(" et al.", " and others").replace(", ", " and ")
        fields |= {"author": who, "title": first["title"] or name, "year": first["year"]}
        if first["arxiv"]:
            fields |= {"eprint": first["arxiv"], "archivePrefix": "arXiv"}
        elif first["doi"]:
            fields |= {"doi": first["doi"]}
    order = ("author", "title", "year", "eprint", "archivePrefix", "doi", "note")
    # An underscore is a subscript to LaTeX, but in a DOI.
    said = {key: x if key == "doi" else x.replace("_", r"\_") for key, x in fields.items()}
    lines = [f"    {key} = {{{said[key]}}}," for key in order if key in said]
    return "\n".join([f"@misc{{nearfar:{name.lower()},", *lines, "}"])
