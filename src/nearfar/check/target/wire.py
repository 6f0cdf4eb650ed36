"""Messages between a check and the process of its target: JSON and arrays, never pickles."""

import io
import json
import struct
from typing import IO, Any

import numpy as np

from nearfar.check.target.calls import Call, Outcome


def send(
    stream: IO[bytes], message: dict[str, Any], arrays: list[np.ndarray] | None = None
) -> None:
    """Write a message and the arrays that belong to it."""
    text = np.frombuffer(json.dumps(message).encode(), np.uint8)
    packed = io.BytesIO()
    named: dict[str, Any] = {f"a{k}": x for k, x in enumerate(arrays or [])}
    np.savez(packed, message=text, **named)
    data = packed.getvalue()
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read one.

    Raises
    ------
    EOFError
        Where the other side is gone.
    """
    head = _exactly(stream, 8)
    packed = np.load(io.BytesIO(_exactly(stream, struct.unpack("<Q", head)[0])), allow_pickle=False)
    message = json.loads(packed["message"].tobytes())
    return message, [packed[f"a{k}"] for k in range(len(packed.files) - 1)]


def _exactly(stream: IO[bytes], count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = stream.read(count - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def pack_call(call: Call) -> tuple[dict[str, Any], list[np.ndarray]]:
    fields = {
        "embeddings": list(call.embeddings),
        "framework": call.framework,
        "dtype": call.dtype,
        "arguments": dict(call.arguments),
        "gradient": call.gradient,
        "rows": call.rows,
        "unit": call.unit,
        "learned": call.learned,
    }
    return fields, list(call.arrays)


def unpack_call(fields: dict[str, Any], arrays: list[np.ndarray]) -> Call:
    return Call(
        tuple(arrays),
        tuple(fields["embeddings"]),
        fields["framework"],
        fields["dtype"],
        fields["arguments"],
        fields["gradient"],
        fields["rows"],
        fields["unit"],
        fields["learned"],
    )


def pack_outcome(outcome: Outcome) -> tuple[dict[str, Any], list[np.ndarray]]:
    arrays = [x for x in (outcome.value, *outcome.gradients) if x is not None]
    fields = {
        "value": outcome.value is not None,
        "framework": outcome.framework,
        "dtype": outcome.dtype,
        "gradients": [g is not None for g in outcome.gradients],
        "error": outcome.error,
        "died": outcome.died,
        "printed": outcome.printed,
        "note": outcome.note,
    }
    return fields, arrays


def unpack_outcome(fields: dict[str, Any], arrays: list[np.ndarray]) -> Outcome:
    left = iter(arrays)
    value = next(left) if fields["value"] else None
    gradients = tuple(next(left) if some else None for some in fields["gradients"])
    return Outcome(
        value,
        fields["framework"],
        fields["dtype"],
        gradients,
        fields["error"],
        fields["died"],
        fields["printed"],
        fields["note"],
    )
