"""How an explanation shows itself in a notebook: a table, and a picture where one can be drawn."""

import base64
import io
from collections.abc import Iterable
from html import escape
from importlib.util import find_spec
from typing import Any

from nearfar.html import table


def shown(title: str, rows: Iterable[tuple[str, str]], findings: list[str], figure: Any) -> str:
    """HTML of the parts; ``figure`` makes the picture, and is called if matplotlib is installed."""
    said = "".join(f"<li>{escape(finding)}</li>" for finding in findings)
    parts = [f"<strong>{escape(title)}</strong>", *([f"<ul>{said}</ul>"] if said else [])]
    parts.append(table(rows))
    if find_spec("matplotlib"):
        parts.append(_picture(figure()))
    return f"<div>{''.join(parts)}</div>"


def _picture(figure: Any) -> str:
    import matplotlib.pyplot as plt

    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    plt.close(figure)  # or the notebook would show it once more
    data = base64.b64encode(out.getvalue()).decode()
    return f'<img alt="anchors against candidates" src="data:image/png;base64,{data}">'
