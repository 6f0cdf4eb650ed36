"""TeX to MathML while the site is built: browsers draw it without a script or a network."""

from docutils.nodes import SkipNode as SkipNode
from latex2mathml.converter import convert


def rendered(tex: str, display: str) -> str:
    return f'<span class="formula {display}">{convert(tex.strip(), display=display)}</span>'
