"""The times as a table for the docs: python -m benchmarks.gpu.table gpu.json"""

import json
import sys
from pathlib import Path
from typing import Any


def table(found: dict[str, Any]) -> str:
    rows = [
        row
        for section in ("goals", "times")
        for row in (found.get(section) or [])
        if isinstance(row, dict) and "ms" in row
    ]
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


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
