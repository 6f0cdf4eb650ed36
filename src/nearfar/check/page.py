"""A report of a check as HTML: a fragment for a notebook, a page for a browser."""

from html import escape

from nearfar.check.wording import Line
from nearfar.html import document, table

_STYLE = """<style>
.answer { font-size: 1.25rem; padding: .6rem .9rem; border-left: 5px solid #2e7d4f; }
.answer.wrong { border-color: #c8351f; }
td:first-child { white-space: nowrap; color: var(--soft, #5b6570); }
</style>"""


def fragment(sections: list[tuple[str, list[Line]]], right: bool) -> str:
    """The answer, and a table below each heading."""
    (answer, _), *others = sections
    kind = "answer" if right else "answer wrong"
    parts = [f'<p class="{kind}">{escape(answer)}</p>']
    for heading, lines in others:
        parts.append(f"<h2>{escape(heading)}</h2>")
        code = heading == "Equal call"
        parts += [f"<pre>{escape(text)}</pre>" for _, text in lines] if code else [table(lines)]
    return "\n".join(parts)


def page(target: str, sections: list[tuple[str, list[Line]]], right: bool) -> str:
    """The whole page."""
    body = f"<h1>{escape(target)}</h1>\n{fragment(sections, right)}"
    return document(f"nearfar check {target}", body, _STYLE)
