"""BibTeX of what a loss says of its source."""

import inspect
import re

from nearfar.losses.base import Loss

_SOURCE = re.compile(r"^Source: (.+?)(?:\n\n|\Z)", re.DOTALL | re.MULTILINE)
_FIRST = re.compile(
    r"(?P<who>[^,;]+?(?:, [^,;]+? and [^,;]+?)?) (?P<year>\d{4})(?:, (?P<title>[^;]+?))?, "
    r"(?:arXiv (?P<arxiv>\d{4}\.\d{5})|doi (?P<doi>10\.[^\s,;]+))"
)


def citation(loss: Loss) -> str:
    """An entry for the paper that the docstring of `loss` names first, with all of its source.

    >>> from nearfar import SupCon
    >>> print(citation(SupCon()).splitlines()[1])
        author = {Khosla and others},
    """
    found = _SOURCE.search(inspect.getdoc(type(loss)) or "")
    if found is None:
        return ""
    source = " ".join(found[1].split())
    name = type(loss).__name__
    fields = {"title": name, "note": f"{name}: {source}"}
    first = _FIRST.match(source)
    if first is not None:
        who = first["who"].replace(" et al.", " and others").replace(", ", " and ")
        fields |= {"author": who, "title": first["title"] or name, "year": first["year"]}
        if first["arxiv"]:
            fields |= {"eprint": first["arxiv"], "archivePrefix": "arXiv"}
        else:
            fields |= {"doi": first["doi"]}
    order = ("author", "title", "year", "eprint", "archivePrefix", "doi", "note")
    # An underscore is a subscript to LaTeX, but in a DOI.
    said = {key: x if key == "doi" else x.replace("_", r"\_") for key, x in fields.items()}
    lines = [f"    {key} = {{{said[key]}}}," for key in order if key in said]
    return "\n".join([f"@misc{{nearfar:{name.lower()},", *lines, "}"])
