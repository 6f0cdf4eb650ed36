"""What becomes of a temperature that is learned: the function is given it as an array."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nearfar.check.finding import NOTE, Finding
from nearfar.check.target.calls import Call, Runner
from nearfar.check.target.probing import Parameter


def learned_temperature(runner: Runner, call: Call, parameter: Parameter) -> Iterator[Finding]:
    """Whether its gradient is a number where all others are.

    Similarities that are masked with -inf before they are divided by it leave exp(-inf) = 0 and a
    right value, and a gradient of 0 times infinity.
    """
    if parameter.kind != "temperature":
        return
    given = np.asarray(float(parameter.reading.argument(parameter.default)))
    number = len(call.arrays)
    learned = replace(
        call,
        arrays=(*call.arrays, given),
        embeddings=(*call.embeddings, number),
        arguments={k: v for k, v in call.arguments.items() if k != parameter.name},
        learned=parameter.name,
        gradient=True,
    )
    outcome = runner.run([learned])[0]
    if not outcome.finite or not outcome.gradients:
        return  # it takes numbers only
    *others, slope = outcome.gradients
    fine = all(g is None or np.isfinite(g).all() for g in others)
    if fine and slope is not None and not np.isfinite(slope).all():
        does = "multiplied" if parameter.reading.told else "divided"
        text = (
            f"the gradient of a {parameter.name!r} that is learned is {float(slope.sum()):g}: "
            f"similarities are masked with -inf before they are {does} by it, and 0 times "
            f"infinity is NaN; let them be {does} first, and masked then"
        )
        yield Finding("gradient", NOTE, text)
