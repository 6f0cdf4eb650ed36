"""``checkpoint.npz``: a training that was stopped at any moment, to go on from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.errors import BadInput
from nearfar.cli.files import read_npz, staged

NAME = "checkpoint.npz"
_REMEDY = "--overwrite without --resume begins anew"

Arrays = dict[str, NDArray[Any]]
History = list[dict[str, Any]]


def write(
    folder: Path, statement: dict[str, Any], arrays: Arrays, state: dict[str, Any], history: History
) -> None:
    """Replace the checkpoint by a newer one, whole."""
    record = {"statement": statement, "state": state, "arrays": list(arrays), "history": history}
    with staged(folder) as stage:
        named: dict[str, Any] = {"record": np.array(json.dumps(record))} | arrays
        np.savez(stage / NAME, **named)


def read(folder: Path, statement: dict[str, Any]) -> tuple[Arrays, dict[str, Any], History] | None:
    """Read what `write` wrote last, if it wrote anything.

    ``statement`` says all that decides the outcome; a checkpoint of another one is refused.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        record = json.loads(str(read_npz(path, ["record"], _REMEDY)["record"]))
        made_by, names = record["statement"], record["arrays"]
        state, history = record["state"], record["history"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is no checkpoint of nearfar; {_REMEDY}") from error
    for name, value in json.loads(json.dumps(statement)).items():
        if made_by.get(name) != value:
            raise BadInput(
                f"--resume: {path} was made with {name} {made_by.get(name)}, not {value}; "
                f"give the options it was made with, or {_REMEDY}"
            )
    return read_npz(path, names, _REMEDY), state, history
