"""TeX to MathML while the site is built: browsers draw it without a script or a network."""

from xml.etree import ElementTree

from docutils.nodes import SkipNode as SkipNode
from latex2mathml.converter import convert

_SPACE = "{http://www.w3.org/1998/Math/MathML}"
_LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}


def rendered(tex: str, display: str) -> str:
    """An element `math` with limits below and above its sums where it stands alone."""
    ElementTree.register_namespace("", _SPACE[1:-1])
    tree = ElementTree.fromstring(convert(tex.strip(), display=display))
    if display == "block":
        for element in tree.iter():
            kind = element.tag.removeprefix(_SPACE)
            if kind in _LIMITS and (element[0].text or "") in ("\u2211", "max"):
                element.tag = _SPACE + _LIMITS[kind]
    text = ElementTree.tostring(tree, encoding="unicode")
    return f'<span class="formula {display}">{text}</span>'
