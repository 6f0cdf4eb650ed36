"""The table of what was measured in each space."""

from collections.abc import Mapping
from dataclasses import asdict, fields

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearfar.cli.report.scores import Measured, Row


def print_table(console: Console, title: str, caption: str, spaces: Mapping[str, Measured]) -> None:
    """Print the spaces, and how far the learned one is above PCA."""
    learned, pca = spaces["learned"], spaces["pca"]
    table = _table(learned, "space", "dims", "sec")
    for name, row in spaces.items():
        table.add_row(name, *_shown(row), str(row.dimensions), _seconds(row.space.seconds))
    gains = learned.scores.above(pca.scores)
    if learned.probe and pca.probe:
        gains.append(f"{learned.probe.score - pca.probe.score:+.3f}")
    table.add_row("gain", *gains)
    metric = learned.space.metric
    distances = f"Euclidean{'' if metric == 'euclidean' else f', learned {metric}'}"
    probe = ""
    if learned.probe:
        heading = learned.probe.heading
        probe = f" {heading[0].upper()}{heading[1:]}: {learned.probe.model}."
    _print(
        console,
        title,
        table,
        f"Gain: learned above PCA. {caption}{probe} Distances: {distances}.",
    )


def print_rows(console: Console, title: str, caption: str, rows: Mapping[str, Row]) -> None:
    """Print the rows as they are, the learned one last, and how far it is above that before it."""
    *_, before, learned = rows.values()
    table = _table(learned, "space", "dims")
    for name, row in rows.items():
        table.add_row(name, *_shown(row), "" if row.dimensions is None else str(row.dimensions))
    table.add_row("gain", *learned.scores.above(before.scores))
    _print(console, title, table, caption)


def print_scores(console: Console, title: str, caption: str, measured: Measured) -> None:
    """Print one space."""
    table = _table(measured, "space")
    table.add_row("learned", *_shown(measured))
    _print(console, title, table, caption)


def _table(example: Row, first: str, *last: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for f in fields(example.scores):
        # On lines of its words: rich would give the column room that others then lack.
        table.add_column(f.metadata["heading"].replace(" ", "\n"), justify="right")
    for heading in (*([example.probe.heading] if example.probe else []), *last):
        table.add_column(heading, justify="right")
    return table


def _shown(row: Row) -> list[str]:
    values = [*asdict(row.scores).values(), *([row.probe.score] if row.probe else [])]
    return [f"{value:.3f}" for value in values]


def _print(console: Console, title: str, table: Table, caption: str) -> None:
    # Not the table's own title and caption, which would wrap where it is narrow.
    console.print(Text(title, style="italic"))
    console.print(table)
    console.print(Text(caption, style="dim italic"))


def verdict(spaces: Mapping[str, Measured]) -> str:
    """Say in a sentence what is compared: the learned dimensions with as many of PCA, and raw."""
    learned, pca, raw = (spaces[name] for name in ("learned", "pca", "raw"))
    told = [
        f"{what} {after:.3f} (PCA {before:.3f}; all {raw.dimensions} features {of_all:.3f})"
        for (what, after), (_, before), (_, of_all) in zip(
            learned.scores.telling(), pca.scores.telling(), raw.scores.telling(), strict=True
        )
    ]
    return f"{learned.dimensions} dimensions learned: {', '.join(told)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"
