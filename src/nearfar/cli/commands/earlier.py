"""What an earlier run has left in a folder, and whether a new one may replace it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nearfar.cli.errors import BadInput
from nearfar.cli.learn import checkpoint

# By some kind of run and not by all: the results of an earlier one would lie beside a newer's.
_WRITTEN = {"embedding.png", "report.html", "embeddings.npz"}

_REMEDY = "--overwrite replaces it, or choose another folder"


def check_free(folder: Path, chosen: dict[str, Any], overwrite: bool, resume: bool) -> None:
    """Refuse a folder that holds the results of another run; the same run gives the same numbers.

    Whether a checkpoint may be resumed is its own affair.
    """
    unfinished = (folder / checkpoint.NAME).exists()
    if overwrite or (resume and unfinished):
        return
    metrics = folder / "metrics.json"
    if metrics.exists():
        earlier = _options(metrics)
        for name, value in json.loads(json.dumps(chosen)).items():
            if name != "resume" and earlier.get(name) != value:
                raise BadInput(
                    f"--out: {folder} holds another run, with {name} {earlier.get(name)} and not "
                    f"{value}; {_REMEDY}"
                )
    elif (folder / "model.npz").exists():
        raise BadInput(f"--out: {folder} holds another model; {_REMEDY}")
    elif unfinished:
        raise BadInput(
            f"--out: {folder} holds the {checkpoint.NAME} of a run that did not end; --resume goes "
            "on with it, --overwrite begins anew"
        )


def remove_rest(folder: Path, files: Iterable[str]) -> None:
    """Remove what only an earlier run of another kind has written there."""
    for name in _WRITTEN.difference(files):
        (folder / name).unlink(missing_ok=True)


def _options(metrics: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(metrics.read_text(encoding="utf-8"))["options"])
    except (ValueError, TypeError, KeyError):
        return {}
