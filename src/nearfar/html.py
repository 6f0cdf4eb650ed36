"""A page of HTML that asks for nothing of the network, and the tables on it."""

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light; --line: #d8dde3; --soft: #5b6570; }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; color: #14181c; background: #fff;
  max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { max-width: 46rem; } .soft { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; } pre { overflow-x: auto; background: #f4f6f8; padding: .8rem;
  border-radius: 4px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; } h2 + div + div { margin-top: .8rem; }
td.number, th.number { text-align: right; }
"""


def document(title: str, body: str, head: str = "", language: str = "en") -> str:
    """A whole page; ``body`` and ``head`` are HTML, ``title`` is text."""
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n{head}\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def table(rows: Iterable[Sequence[object]], heading: Sequence[str] = ()) -> str:
    """Rows of text, escaped; floats with three digits behind the point, numbers to the right."""
    lines = []
    if heading:
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    lines += [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</tbody></table></div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.3f}</td>'
    kind = ' class="number"' if isinstance(value, int) and not isinstance(value, bool) else ""
    return f"<td{kind}>{escape(str(value))}</td>"
