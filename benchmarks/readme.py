"""The claims of a saved run as a table of Markdown, for the README.

python -m benchmarks.readme benchmarks.json
"""

import json
import sys
from pathlib import Path


def main(path: str) -> None:
    results = json.loads(Path(path).read_text(encoding="utf-8"))
    print("| asked | measured |\n|---|---|")
    for session in results["sessions"]:
        for claim in session["claims"]:
            measured = "-" if claim["measured"] is None else f"{claim['measured']:.3g}"
            print(f"| {claim['asked']} | {measured} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
