"""The answers to the goals and the times, for the docs: python -m benchmarks.gpu.table gpu.json"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.answers import Times, answers


def table(found: dict[str, Any]) -> str:
    """Milliseconds, and MiB in brackets, of a size by each contender."""
    rows = Times(found).rows
    names = list(dict.fromkeys(row["who"] for row in rows))
    cells: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows:
        key = (row["loss"], row["n"], row["d"], row["dtype"])
        cells.setdefault(key, {})[row["who"]] = f"{row['ms']:.2f} ({row['MiB']:.0f})"
    head = "| loss, rows x features | " + " | ".join(names) + " |"
    lines = [head, "|---" * (len(names) + 1) + "|"]
    for (loss, n, d, dtype), found_here in sorted(cells.items()):
        shown = " | ".join(found_here.get(name, "") for name in names)
        lines.append(f"| {loss} {n:,} x {d} {dtype} | {shown} |")
    return "\n".join(lines)


def report(found: dict[str, Any]) -> str:
    machine = found.get("machine")
    told = machine if isinstance(machine, dict) else {}
    card = f"{told.get('device', 'unknown card')}, PyTorch {told.get('torch', '?')}"
    goals = "\n".join(f"- {answer}" for answer in answers(found))
    return f"{card}\n\n{goals}\n\n{table(found)}"


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text())))
