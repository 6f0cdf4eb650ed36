"""The softmax family: log D(i, p) - s_ip over positives p, D a sum over a set of candidates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space.stack import ALL, COLUMNS, NONE, Marks, Stack
from nearfar.check.identity.space.view import View, add_logs, log_sum

POSITIVES = ("mean_log", "sum_log", "log_mean", "log_sum")
WHOLE = ("log_of_sums", "log_of_mean")  # one logarithm for the whole batch
HALVES = ("log_of_two", "log_of_two_once")  # one for both views, the positive added twice or once

POWERS = ((1, 1), (0, 0), (2, 2), (-1, -1), (0, 1), (1, 0), (2, 1), (1, 2))
"""Of the temperature that divides the positive's logit, and those in the denominator."""


@dataclass(frozen=True)
class Softmax:
    """log D(i, p) - s_ip, put together over the positives of an anchor."""

    metric: str = "dot"
    normalised: str = ALL
    sign: int = 1
    powers: tuple[int, int] = (1, 1)
    scope: str = "both"
    anchors: str = "all"
    # Who of the positives is in it: as of SupCon, or "twice" (all, and the own again).
    denominator: str = "all"
    include_self: bool = False
    one: bool = False  # 1 is added to the denominator
    averaged: bool = False  # the denominator is a mean
    self_positive: bool = False
    positives: str = "mean_log"
    margin: float = 0.0  # taken off the positive's similarity
    smoothing: float = 0.0  # of the labels, over all candidates
    softmaxed: bool = False  # probabilities in place of logits
    mispaired: bool = False  # rows 2i and 2i + 1 of the views one below the other

    @property
    def parameter(self) -> str | None:
        return None if self.powers == (0, 0) else "temperature"

    @property
    def cost(self) -> float:
        return (
            similarity_cost(self.metric, self.normalised, self.sign)
            + 4 * (self.powers != (1, 1))
            + {"both": 0, "queue": 0, "other": 0.5}.get(self.scope, 3)
            + 0.4 * (self.anchors != "all")
            + {"all": 0, "own_positive": 0.5, "negatives": 0.5, "twice": 3}[self.denominator]
            + 2 * self.include_self
            + 3 * self.one
            + 3 * self.averaged
            + 2 * self.self_positive
            + {"mean_log": 0, "sum_log": 0.6, "log_mean": 0.6, "log_sum": 0.7}.get(
                self.positives, 3
            )
            + 3 * bool(self.margin)
            + 3 * bool(self.smoothing)
            + 3 * self.softmaxed
            + 3 * self.mispaired
        )

    def divisors(self, view: View) -> dict[str, Floats]:
        if self.positives in WHOLE:
            return {"nothing": np.ones(len(view.stack))}
        usable = self._usable(view)
        key = (
            "divisors",
            self.anchors,
            self.self_positive,
            usable.tobytes(),
            self.positives == "sum_log",
        )
        found: dict[str, Floats] = view.keep(key, lambda: self._reductions(view, usable))
        return found

    def _reductions(self, view: View, usable: Marks) -> dict[str, Floats]:
        stack = view.stack
        pairs = self._chosen(view) & usable[..., None]
        several = self.positives == "sum_log" and (stack.kind == "labels" or self.self_positive)
        return reductions(
            stack.groups[self.anchors],
            usable if stack.kind == "labels" else None,
            pairs if several else None,
        )

    def each(self, view: View) -> Floats:
        anchors = view.stack.groups[self.anchors]
        chosen = self._chosen(view) & anchors[:, :, None]
        if self.positives == "log_of_sums":
            pulled = log_sum(log_sum(self._positive(view), chosen), axis=-1)
            pushed = log_sum(self._denominator(view), anchors, axis=-1)
            return np.asarray(pushed - pulled)[..., None]
        if self.positives in HALVES:
            return self._of_both_views(view, chosen)
        key = (self._denominator_key(), self.powers[0], self.smoothing, self.softmaxed)
        terms = view.keep(key, lambda: self._terms(view))
        values = over_positives(terms, chosen, self.positives)
        values = np.where(self._usable(view) & np.isfinite(values), values, 0)
        if self.positives == "log_of_mean":
            some = anchors.sum(axis=-1)
            shares = log_sum(-terms, chosen)
            return np.asarray(np.log(some) - log_sum(shares, anchors, axis=-1))[..., None]
        return np.asarray(values)

    def _of_both_views(self, view: View, chosen: Marks) -> Floats:
        below = self._of_anchors(view)
        partner = np.broadcast_to(self._positives(view.stack).argmax(axis=2), below.shape)
        both = add_logs(below, np.take_along_axis(below, partner, axis=-1))
        own = np.where(chosen, self._positive(view), 0).sum(axis=-1)
        values = both - own - (np.log(2) if self.positives == "log_of_two" else 0)
        return np.asarray(np.where(chosen.any(axis=-1), values, 0))

    def _of_anchors(self, view: View) -> Floats:
        """log D, (K, B, n), where an anchor has one positive."""
        below = self._denominator(view)
        if below.ndim == 4:
            below = np.where(self._positives(view.stack), below, 0).sum(axis=-1)
        return below

    def _positives(self, stack: Stack) -> Marks:
        return stack.neighbours if self.mispaired else stack.positives

    def _negatives(self, stack: Stack) -> Marks:
        if not self.mispaired:
            return stack.scopes[self.scope]
        return stack.valid & ~stack.itself & ~stack.neighbours

    def _chosen(self, view: View) -> Marks:
        stack = view.stack
        if self.mispaired:
            return stack.neighbours
        return stack.positives | stack.itself if self.self_positive else stack.positives

    def _usable(self, view: View) -> Marks:
        stack = view.stack
        usable = stack.groups[self.anchors] & self._chosen(view).any(axis=2)
        if self.denominator == "negatives" and not (self.include_self or self.one):
            usable = usable & stack.scopes[self.scope].any(axis=2)
        return np.asarray(usable)

    def _positive(self, view: View) -> Floats:
        return self._logits(view, self.powers[0])

    def _candidates(self, view: View) -> Floats:
        return self._logits(view, self.powers[1])

    def _logits(self, view: View, power: int) -> Floats:
        found = view.logits(self.metric, self.normalised, self.sign, power)
        if self.margin:
            found = found - self.margin / view.spread() ** power * view.stack.positives
        return found

    def _terms(self, view: View) -> Floats:
        if self.softmaxed:
            return self._softmax_again(view)
        if self.smoothing:
            return self._smoothed(view)
        below = self._denominator(view)
        return (below if below.ndim == 4 else below[..., None]) - self._positive(view)

    def _smoothed(self, view: View) -> Floats:
        terms = self._of_anchors(view)[..., None] - self._positive(view)
        inside = self._negatives(view.stack) | self._positives(view.stack)
        count = np.maximum(inside.sum(axis=-1, keepdims=True), 1)
        all_of = np.where(inside, terms, 0).sum(axis=-1, keepdims=True) / count
        return np.asarray((1 - self.smoothing) * terms + self.smoothing * all_of)

    def _softmax_again(self, view: View) -> Floats:
        """Cross-entropy of probabilities; a row that is masked has one of 0, and counts as 1."""
        plain = replace(self, one=False, softmaxed=False)
        shares = np.exp(self._candidates(view) - plain._of_anchors(view)[..., None])
        inside = self._negatives(view.stack) | self._positives(view.stack)
        again = log_sum(shares, inside)
        again = add_logs(again, 0.0) if self.one else again
        return np.asarray(again[..., None] - shares)

    def _denominator_key(self) -> tuple[Any, ...]:
        return (
            self.metric, self.normalised, self.sign, self.powers[1], self.margin, self.mispaired,
            self.scope, self.denominator, self.include_self, self.one, self.averaged,
        )  # fmt: skip

    def _denominator(self, view: View) -> Floats:
        """log D, (K, B, n), or (K, B, n, m) where each positive has its own."""
        return np.asarray(view.keep(("D", *self._denominator_key()), lambda: self._sum(view)))

    def _sum(self, view: View) -> Floats:
        stack, x = view.stack, self._candidates(view)
        rows = self._denominator_key()[:6]
        negatives, positives = self._negatives(stack), self._positives(stack)
        found = view.keep((*rows, self.scope), lambda: log_sum(x, negatives))
        count = negatives.sum(axis=2)
        if self.include_self:
            itself = view.keep((*rows, "self"), lambda: np.where(stack.itself, x, 0).sum(axis=-1))
            found, count = add_logs(found, itself), count + 1
        if self.one:
            found, count = add_logs(found, 0.0), count + 1
        if self.denominator in ("all", "twice"):
            all_of = view.keep((*rows, "positives"), lambda: log_sum(x, positives))
            found, count = add_logs(found, all_of), count + positives.sum(axis=2)
        if self.denominator in ("own_positive", "twice"):
            found, count = add_logs(found[..., None], x), count + 1
        if self.averaged:
            logs = np.log(np.maximum(count, 1))
            found = found - (logs[..., None] if found.ndim == 4 else logs)
        return np.asarray(found)


def similarity_cost(metric: str, normalised: str, sign: int) -> float:
    known = {ALL: 0.0, NONE: 0.3}.get(normalised, 3.0)
    if metric != "dot":
        known = 0.4 if normalised == NONE else 2.0
    return known + 3 * (sign < 0)


def over_positives(terms: Floats, chosen: Marks, positives: str) -> Floats:
    """An anchor's terms put together; not finite or 0 where it has none."""
    if positives in ("log_mean", "log_sum", "log_of_mean"):
        inner = log_sum(-terms, chosen)
        counts = np.maximum(chosen.sum(axis=-1), 1) if positives == "log_mean" else 1
        return np.asarray(np.log(counts) - inner)
    values = np.where(chosen, terms, 0).sum(axis=-1)
    return np.asarray(
        values / np.maximum(chosen.sum(axis=-1), 1) if positives == "mean_log" else values
    )


def reductions(chosen: Marks, usable: Marks | None, pairs: Marks | None) -> dict[str, Floats]:
    """What a sum over anchors is divided by, (B,); None for what never differs from another."""
    anchors = chosen.sum(axis=1).astype(float)
    found = {"nothing": np.ones_like(anchors), "anchors": anchors}
    if usable is not None:
        found["used anchors"] = usable.sum(axis=1).astype(float)
    if pairs is not None:
        found["pairs"] = pairs.sum(axis=(1, 2)).astype(float)
    found["anchors squared"] = anchors**2
    found["anchors times others"] = anchors * (anchors - 1)
    return found


def similarities(parts: int, kind: str) -> Iterator[tuple[str, str, int]]:
    """Metric, which parts are normalised, sign."""
    some: tuple[str, ...] = ()
    if parts == 2:
        some = ("0", "1")
    elif parts == 3:
        some = ("0", "1", "2", "01", "02", "12")
    for normalised in (ALL, NONE, *some, COLUMNS):
        for sign in (1, -1):
            yield "dot", normalised, sign
    for metric in ("euclidean", "sqeuclidean"):
        for normalised in (NONE, ALL):
            for sign in (1, -1):
                yield metric, normalised, sign


def softmax_shapes(kind: str, parts: int, powers: tuple[tuple[int, int], ...]) -> Iterator[Softmax]:
    """Every convention of the family for a kind of batch."""
    single = kind != "labels"
    selves = (False, True) if kind in ("views", "labels") else (False,)
    scopes = {"views": ("both", "other", "same"), "labels": ("both",)}.get(
        kind, ("queue", "queue and keys", "keys")
    )
    groups = ("all", "first", "second") if kind == "views" else ("all",)
    denominators = (*(() if single else ("all",)), "own_positive", "negatives", "twice")
    for (metric, normalised, sign), power in product(similarities(parts, kind), powers):
        if power != (1, 1) and not known(metric, normalised, sign):
            continue
        rare = (not known(metric, normalised, sign)) + (power not in PLAIN_POWERS)
        for scope, denominator, include_self, self_positive in product(
            scopes, denominators, selves, selves
        ):
            odd = rare + (scope in ("same", "keys")) + (self_positive and kind == "views")
            if odd > 1 or (self_positive and denominator == "twice"):
                continue
            plain = not include_self and not self_positive and denominator != "twice" and not odd
            insertions = ((False, False), (True, False), (False, True)) if plain else (
                (False, False),
            )  # fmt: skip
            # A row that is its own positive may share a denominator with the other one.
            shared = self_positive and single and denominator == "own_positive"
            for inner in ("own_positive", "all") if shared else (denominator,):
                manners = _manners(single and not self_positive, denominator, bool(odd))
                for (one, averaged), positives, anchors in product(insertions, manners, groups):
                    if positives in WHOLE and (one or averaged):
                        continue
                    yield Softmax(
                        metric, normalised, sign, power, scope, anchors, inner, include_self, one,
                        averaged, self_positive, positives,
                    )  # fmt: skip


PLAIN_POWERS = ((1, 1), (0, 0), (2, 2))


def known(metric: str, normalised: str, sign: int) -> bool:
    """Whether a similarity is published; slips in it are not searched with other rare ones."""
    return sign > 0 and (normalised == NONE or (metric == "dot" and normalised == ALL))


def _manners(single: bool, denominator: str, odd: bool) -> tuple[str, ...]:
    whole = () if odd else WHOLE if denominator in ("all", "negatives") else WHOLE[1:]
    return ("sum_log", *whole) if single else (*POSITIVES, *whole)
