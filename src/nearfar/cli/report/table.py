"""The table of what was measured in each space."""

from collections.abc import Mapping
from dataclasses import asdict, fields

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearfar.cli.report.scores import Measured


def print_table(console: Console, title: str, caption: str, spaces: Mapping[str, Measured]) -> None:
    """Print the spaces, and how far the learned one is above PCA."""
    learned, pca = spaces["learned"], spaces["pca"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("space", no_wrap=True)
    for f in fields(learned.scores):
        table.add_column(f.metadata["heading"], justify="right")
    for heading in (*([learned.probe.heading] if learned.probe else []), "dims", "sec"):
        table.add_column(heading, justify="right")
    for name, row in spaces.items():
        values = [*asdict(row.scores).values(), *([row.probe.score] if row.probe else [])]
        shown = (f"{value:.3f}" for value in values)
        table.add_row(name, *shown, str(row.dimensions), _seconds(row.space.seconds))
    gains = learned.scores.above(pca.scores)
    if learned.probe and pca.probe:
        gains.append(f"{learned.probe.score - pca.probe.score:+.3f}")
    table.add_row("gain", *gains)
    metric = learned.space.metric
    distances = f"Euclidean{'' if metric == 'euclidean' else f', learned {metric}'}"
    # Not the table's own title and caption, which would wrap where it is narrow.
    console.print(Text(title, style="italic"))
    console.print(table)
    probe = ""
    if learned.probe:
        heading = learned.probe.heading
        probe = f" {heading[0].upper()}{heading[1:]}: {learned.probe.model}."
    console.print(
        Text(
            f"Gain: learned above PCA. {caption}{probe} Distances: {distances}.",
            style="dim italic",
        )
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"
