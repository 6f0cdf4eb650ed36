"""Slips and additions of the softmax family that are searched one at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

from nearfar.check.identity.space.softmax import HALVES, Softmax
from nearfar.check.identity.space.stack import ALL, BOTH_COLUMNS, NONE

_MARGINS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1.0)
_SMOOTHINGS = (0.1, 0.2, 0.05, 0.01)


def slip_shapes(kind: str, form: str, numbers: Mapping[str, float]) -> Iterator[Softmax]:
    """A published loss, with one thing that people do to it."""
    for shape in _published(kind):
        yield from _changed(shape, kind, form, numbers)


def _published(kind: str) -> Iterator[Softmax]:
    denominators = (*(("all",) if kind == "labels" else ()), "own_positive", "negatives")
    queue = ("queue", "queue and keys")
    scopes = {"views": ("both", "other"), "labels": ("both",)}.get(kind, queue)
    groups = ("all", "first", "second") if kind == "views" else ("all",)
    positives = ("mean_log", "sum_log") if kind == "labels" else ("sum_log",)
    for rows, denominator, scope, anchors, how in product(
        (ALL, NONE), denominators, scopes, groups, positives
    ):
        yield Softmax(
            normalised=rows, denominator=denominator, scope=scope, anchors=anchors, positives=how
        )


def _changed(
    shape: Softmax, kind: str, form: str, numbers: Mapping[str, float]
) -> Iterator[Softmax]:
    for margin in _told("margin", numbers, _MARGINS):
        yield replace(shape, margin=margin)
    if shape.normalised == ALL:
        yield replace(shape, metric="half")
        if kind == "views":
            yield replace(shape, normalised=BOTH_COLUMNS)
    if kind == "views" and shape.anchors == "first":
        for positives in HALVES:
            yield replace(shape, positives=positives)
    if kind == "views" and shape.scope == "both" and form in ("views", "stacked"):
        yield replace(shape, mispaired=True)
    if shape.denominator == "negatives" or kind == "labels":
        return
    for smoothing in _told("smoothing", numbers, _SMOOTHINGS):
        yield replace(shape, smoothing=smoothing)
    for one in (False, True) if shape.scope == "both" else (False,):
        yield replace(shape, softmaxed=True, one=one)


def _told(name: str, numbers: Mapping[str, float], usual: tuple[float, ...]) -> list[float]:
    """The target's own number, else usual ones; 0 is none."""
    return [x for x in ([numbers[name]] if name in numbers else usual) if x]
