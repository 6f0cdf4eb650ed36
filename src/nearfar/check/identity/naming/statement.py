"""What a function is in nearfar's words: a loss, and what that loss would have to change."""

from dataclasses import dataclass, fields

from nearfar.losses import Loss


@dataclass(frozen=True)
class Statement:
    """A loss of nearfar with what it cannot say; `loss` alone is exact where `changes` is empty."""

    loss: Loss
    changes: tuple[str, ...] = ()
    swapped: bool = False  # the inputs change places

    def __str__(self) -> str:
        text = str(self.loss) + (" called as (b, a)" if self.swapped else "")
        return ", but ".join([text, *self.changes])

    def remarks(self) -> list[str]:
        """What differs from the loss as published, fields and changes, in words."""
        found = []
        for field in fields(self.loss):
            value = getattr(self.loss, field.name)
            text = REMARKS.get((field.name, value))
            if value != field.default and text:
                found.append(text)
        by = getattr(self.loss, "scale_by", "constant") == "temperature"
        if self.loss.scale != 1 or by:
            found.insert(0, _factor(self.loss.scale, by))
        return [*found, *self.changes]


def _factor(scale: float, by_temperature: bool) -> str:
    if by_temperature:
        known = {1.0: "", round(1 / 0.07, 4): " / 0.07"}.get(round(scale, 4))
        times = f"{scale:.6g} " if known is None else ""
        return f"multiplied by {times}temperature{known or ''}"
    if scale == -1:
        return "the sign is reversed"
    return f"multiplied by {scale:.6g}" + (": the sign is reversed" if scale < 0 else "")


REMARKS = {
    ("similarity", "dot"): "rows are not normalised inside",
    ("similarity", "neg_sqeuclidean"): "similarity is minus the squared distance",
    ("similarity", "neg_euclidean"): "similarity is minus the distance",
    ("denominator", "own_positive"): "each pair's denominator holds no other positive",
    ("denominator", "negatives"): "the positive is left out of the denominator",
    ("positives", "sum_log"): "an anchor's positives are summed, not averaged",
    ("positives", "log_mean"): "the mean over positives is inside the logarithm",
    ("positives", "log_sum"): "log of a sum: the positives are added inside the logarithm",
    ("include_self", True): "the anchor is counted in its own denominator",
    ("include_self", "positive"): "the anchor counts as its own positive",
    ("anchors", "first"): "one direction: only the first view's rows are anchors",
    ("without_positives", "zero"): "anchors without positives count as 0 in the mean",
    ("average", "pairs"): "the mean is over positive pairs, not over anchors",
    ("reduction", "sum"): "a sum instead of a mean",
    ("reduction", "none"): "one value per anchor, no mean",
    ("order", "nearer"): "<= for >=: the denominator holds the rows whose target is nearer",
    ("label_distance", "l2"): "targets of several columns are compared by l2",
    ("count", "all"): "the mean is over all triplets, not the active ones",
}
