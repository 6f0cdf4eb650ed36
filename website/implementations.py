"""Public implementations, a page for each package: the old call, the new one, what differs."""

import re
from itertools import groupby

import nearfar as nf
from nearfar.presets import Preset
from website.markdown import escaped

EVIDENCE = {
    "run": "The original was run and gives the same value.",
    "calculated": "The original's formula was computed again and gives the same value.",
    "read": "Only the original's source was read.",
}


def pages() -> dict[str, str]:
    """Markdown by path."""
    packages = _packages()
    made = {f"implementations/{slug(name)}.md": _page(name, rows) for name, rows in packages}
    return {"implementations/index.md": _overview(packages)} | made


def slug(package: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", package.lower()).strip("-")


def link(row: Preset, folder: str) -> str:
    package = row.name.partition("/")[0]
    return f"[{escaped(row.name)}]({folder}{slug(package)}.md) ({row.version})"


def _packages() -> list[tuple[str, list[Preset]]]:
    def package(row: Preset) -> str:
        return row.name.partition("/")[0]

    rows = sorted(nf.presets.table(), key=lambda row: package(row).lower())
    return [(name, list(found)) for name, found in groupby(rows, package)]


def _overview(packages: list[tuple[str, list[Preset]]]) -> str:
    known = sum(row.loss is not None for _, rows in packages for row in rows)
    total = sum(len(rows) for _, rows in packages)
    lines = [
        "# Implementations elsewhere",
        "",
        f"{total} public implementations by their package, of which {known} are a statement of a "
        "loss here. `nearfar presets` prints the same.",
        "",
        "| package | losses |",
        "|---|---|",
    ]
    for name, rows in packages:
        losses = ", ".join(dict.fromkeys(type(row.loss).__name__ for row in rows if row.loss))
        lines.append(f"| [{escaped(name)}]({slug(name)}.md) | {losses or 'none covered'} |")
    pages = "\n".join(slug(name) for name, _ in packages)
    return "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n{pages}\n```"


def _page(package: str, rows: list[Preset]) -> str:
    return "\n\n".join([f"# {escaped(package)}", *map(_section, rows)])


def _section(row: Preset) -> str:
    title = f"## {escaped(row.name.partition('/')[2] or row.name)}"
    where = f"`{row.source}`, version {escaped(row.version)}."
    if row.loss is None:
        return f"{title}\n\n{where} Not covered: {escaped(row.reason)}."
    name = type(row.loss).__name__
    traps = "\n".join(f"- {escaped(trap)}" for trap in row.traps)
    return "\n\n".join(
        [
            title,
            f"{where} It is a [{name}](../losses/{name.lower()}.md): `{row.loss!r}`.",
            f"```python\n# there\n{row.original}\n\n# here\n"
            f'loss = nf.preset("{row.name}")\n{row.call}\n```',
            escaped(row.inputs),
            f"**Beside the paper.** {escaped(row.differs)}",
            *([f"**What surprises there.**\n\n{traps}"] if traps else []),
            f"**Evidence.** {EVIDENCE[row.evidence]}",
        ]
    )
