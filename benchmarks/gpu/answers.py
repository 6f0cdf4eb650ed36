"""The goals, and what a run says of each: met or not, by which figure, or not measured."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

OURS = ("nearfar", "nearfar, tiles")
# Units of 2 n^2 d operations that two passes without an n x n array make: of one set, of two sides,
# and of SigLIP, whose value and gradient want the logits once.
UNITS = {"NTXent": 2, "SupCon": 2, "HCL": 2, "CLIP": 4, "InfoNCE": 4, "SigLIP": 3}
FULL, HALF = "float32", "bfloat16"

Row = dict[str, Any]
T = TypeVar("T", bound=list[Any] | dict[str, Any])


class Answer(NamedTuple):
    goal: str
    met: bool | None
    """None: nothing of it was measured."""
    figure: str

    def __str__(self) -> str:
        word = {True: "met", False: "NOT MET", None: "not measured"}[self.met]
        return f"{self.goal}: {word}" + (f"; {self.figure}" if self.figure else "")


def _section(found: dict[str, Any], name: str, kind: type[T]) -> T:
    """What a section found, also where it ended in an error; nothing where it never began."""
    for key in (name, f"{name}, so far"):
        if isinstance(found.get(key), kind):
            return cast(T, found[key])
    return kind()


class Times:
    """Milliseconds by what was timed and by whom."""

    def __init__(self, found: dict[str, Any]) -> None:
        sections = [_section(found, name, list) for name in ("goals", "times")]
        self.rows: list[Row] = [row for rows in sections for row in rows if "ms" in row]
        self._by_key = {(self.key(r), r["dtype"], r["who"]): r for r in self.rows}

    @staticmethod
    def key(row: Row) -> tuple[str, int, int]:
        return row["loss"], row["n"], row["d"]

    def ours(self, least: int, dtype: str | None = None) -> Iterator[Row]:
        """What a call takes that asks for nothing."""
        for row in self.rows:
            if row["who"] == OURS[0] and row["n"] >= least and dtype in (None, row["dtype"]):
                yield row

    def of(self, row: Row, who: str, dtype: str | None = None) -> float | None:
        other = self._by_key.get((self.key(row), dtype or row["dtype"], who))
        return None if other is None else float(other["ms"])


def answers(found: dict[str, Any]) -> list[Answer]:
    times = Times(found)
    return [
        *_correct(_section(found, "correct", dict)),
        _graphs(_section(found, "streams and graphs", dict)),
        _ratio(
            "never slower than dense from 256 rows on", 1.0,
            ((r, times.of(r, "dense")) for r in times.ours(256)),
        ),
        _ratio(
            "float32 from 4,096 rows on at least 2 times as fast as dense", 2.0,
            ((r, times.of(r, "dense")) for r in times.ours(4096, FULL)),
        ),
        _ratio(
            "bfloat16 from 4,096 rows on at least 6 times as fast as dense in float32", 6.0,
            ((r, times.of(r, "dense", FULL)) for r in times.ours(4096, HALF)),
        ),
        _ratio(
            "bfloat16 from 4,096 rows on at least 3 times as fast as dense under autocast", 3.0,
            ((r, times.of(r, "dense, autocast", FULL)) for r in times.ours(4096, HALF)),
        ),
        _peer(times, "CLIP", "memeff"),
        _peer(times, "SigLIP", "siglip-kernel"),
        _floor(times, _section(found, "machine", dict)),
        _memory(times),
    ]  # fmt: skip


def _told(row: Row) -> str:
    return f"{row['loss']} {row['n']:,} x {row['d']} {row['dtype']}"


def _ratio(goal: str, least: float, pairs: Any) -> Answer:
    """Whether the other takes `least` times as long in every row; the worst is told."""
    ratios = [(other / row["ms"], _told(row)) for row, other in pairs if other is not None]
    if not ratios:
        return Answer(goal, None, "")
    worst, where = min(ratios)
    short = sum(ratio < least for ratio, _ in ratios)
    figure = f"least {worst:.2f} ({where}), {len(ratios) - short} of {len(ratios)} sizes"
    return Answer(goal, not short, figure)


def _peer(times: Times, loss: str, peer: str) -> Answer:
    wanted = [r for r in times.ours(65_536, HALF) if r["loss"] == loss and r["d"] == 512]
    goal = f"{loss} 65,536 x 512 bfloat16 ahead of {peer}"
    return _ratio(goal, 1.0, ((r, times.of(r, peer)) for r in wanted))


def _floor(times: Times, machine: dict[str, Any]) -> Answer:
    goal = "at most 2 times the card's bare products from 4,096 rows on"
    shares = []
    for row in times.ours(4096):
        rate = machine.get(f"{row['dtype']} TFLOP/s")
        if rate:
            floor = UNITS[row["loss"]] * 2 * row["n"] ** 2 * row["d"] / rate / 1e9
            shares.append((row["ms"] / floor, _told(row)))
    if not shares:
        return Answer(goal, None, "")
    worst, where = max(shares)
    kept = sum(share <= 2 for share, _ in shares)
    figure = f"most {worst:.2f} ({where}), {kept} of {len(shares)} sizes"
    return Answer(goal, kept == len(shares), figure)


def _memory(times: Times) -> Answer:
    goal = "65,536 x 128 under 256 MiB beyond inputs and gradients"
    used = [
        (r["MiB"] - r["result MiB"], _told(r))
        for r in times.ours(65_536)
        if (r["n"], r["d"]) == (65_536, 128)
    ]
    if not used:
        return Answer(goal, None, "")
    most, where = max(used)
    return Answer(goal, most < 256, f"most {most:.0f} MiB ({where})")


def _correct(rows: dict[str, Row]) -> Iterator[Answer]:
    """Of every loss on the card: distances, bits and waits."""
    checks: tuple[tuple[str, Callable[[Row], bool | None]], ...] = (
        ("every value within 1e-6 of float64", lambda r: r["value"] <= 1e-6),
        (
            "every float32 gradient within 5e-6 of float64",
            lambda r: None if r["dtype"] != FULL else r["gradient"] <= 5e-6,
        ),
        (
            "199 of 200 entries of bfloat16 gradients the rounded exact ones",
            lambda r: None if r["dtype"] != HALF else r["rounded exactly"] >= 0.995,
        ),
        ("the same bits twice", lambda r: r["same bits"]),
        (
            "no wait in a kernel, one at most elsewhere",
            lambda r: None if "waits" not in r else r["waits"] <= (r["kernel"] != "triton"),
        ),
    )
    failed = [name for name, row in rows.items() if "failed" in row]
    yield Answer("no call ends in an error", not failed if rows else None, ", ".join(failed[:4]))
    for goal, check in checks:
        said = {name: check(row) for name, row in rows.items() if "failed" not in row}
        known = {name: bool(right) for name, right in said.items() if right is not None}
        wrong = [name for name, right in known.items() if not right]
        figure = f"{len(known) - len(wrong)} of {len(known)} calls" if known else ""
        yield Answer(goal, not wrong if known else None, "; not ".join([figure, *wrong[:4]]))


def _graphs(said: dict[str, Row]) -> Answer:
    goal = "two streams, graphs and compiled programs give what plain calls give"
    wrong = [name for name, result in said.items() if not result.get("right")]
    figure = f"{len(said) - len(wrong)} of {len(said)}" if said else ""
    return Answer(goal, not wrong if said else None, "; not ".join([figure, *wrong]))
