"""Slips that several families have, in words."""

from typing import Any

from nearfar.check.identity.space import NORMALISED


def similarity_of(shape: Any) -> tuple[str, list[str]]:
    changes = []
    if shape.metric == "half":
        return "cosine", ["the similarity is (cos + 1) / 2: the temperature acts as twice as high"]
    if shape.metric == "dot":
        name = "cosine" if shape.normalised == "all" else "dot"
    else:
        name = f"neg_{shape.metric}"
        if shape.normalised == "all":
            changes.append(NORMALISED)
    if shape.normalised not in ("all", "none"):
        inputs = " and ".join(("first", "second", "third")[int(k)] for k in shape.normalised
                              if k in "012")  # fmt: skip
        changes.append(
            _COLUMNS.get(shape.normalised, f"only the {inputs} input's rows are normalised")
        )
    if shape.sign < 0:
        changes.append("the similarity has the wrong sign")
    return name, changes


_COLUMNS = {
    "columns": "columns are normalised instead of rows",
    "columns of both": "columns are normalised instead of rows, over both views together",
}


def uses_of(powers: tuple[int, int]) -> list[str]:
    above, below = (
        {1: "divided by it", 0: "not divided by it", 2: "divided by it twice",
         -1: "multiplied by it"}[p] for p in powers
    )  # fmt: skip
    if powers == (1, 1):
        return []
    if powers == (0, 0):
        return ["the temperature is not used"]
    if powers == (2, 2):
        return ["the temperature is used twice: similarities are divided by its square"]
    if powers == (-1, -1):
        return ["similarities are multiplied by the temperature instead of divided"]
    return [
        f"temperature: the positive's similarity is {above}, the denominator's are {below}",
    ]


def divided(divisor: str, *known: str) -> list[str]:
    if divisor in known:
        return []
    return {
        "anchors squared": ["divided by the number of anchors squared"],
        "anchors times others": ["divided by the number of ordered pairs"],
        "nothing": ["a sum instead of a mean"],
        "active": ["the mean is over the active triplets"],
        "anchors": ["divided by the number of anchors"],
        "used anchors": ["divided by the number of anchors that have terms"],
        "triplets": ["divided by the number of triplets"],
        "pairs": ["divided by the number of pairs"],
    }[divisor]


def distance_of(shape: Any) -> tuple[str, list[str]]:
    if shape.metric == "dot":
        if shape.normalised == "all":
            return "cosine", []
        return "cosine", ["rows are not normalised"]
    return shape.metric, [NORMALISED] if shape.normalised == "all" else []
