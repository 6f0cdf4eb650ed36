"""What was measured in each space, for a kind of rows: a table, and entries of metrics.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearfar.cli.spaces import Space


def measure(heading: str, better: str = "higher") -> Any:
    """Make a field of `Scores`, under the heading it has in the table."""
    return field(metadata={"heading": heading, "better": better})


@dataclass(frozen=True)
class Scores:
    """Measures of one space; the kinds of rows have their own, and the first says most."""

    def headline(self) -> tuple[str, float]:
        """Heading and value of the first measure."""
        first = fields(self)[0]
        return first.metadata["heading"], getattr(self, first.name)

    def above(self, other: "Scores") -> list[str]:
        """By how much each measure is above another space's, where higher is better."""
        return [
            f"{getattr(self, f.name) - getattr(other, f.name):+.3f}"
            if f.metadata["better"] == "higher"
            else ""
            for f in fields(self)
        ]


class Probe(NamedTuple):
    """What a linear model makes of a space: its heading in the table, its name, its score."""

    heading: str
    model: str
    score: float


@dataclass(frozen=True)
class Measured:
    """A space with its scores: one row of the table."""

    space: Space
    scores: Scores
    probe: Probe | None

    @property
    def dimensions(self) -> int:
        return int(self.space.held_out.shape[1])

    def report(self) -> dict[str, float]:
        """Give everything for metrics.json."""
        probe = {} if self.probe is None else {"probe": self.probe.score}
        about = {"dimensions": self.dimensions, "seconds": round(self.space.seconds, 3)}
        return asdict(self.scores) | probe | about


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
