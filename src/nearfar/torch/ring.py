"""Losses of two matched sides over processes that hold their own rows only.

The rows of the second side go round the ranks, and with them what they gather on the way: sums of
their own direction, then their gradient. After as many steps as there are ranks both are home.
A pair's logit is always made by the rank of its first side, so that it is one number.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from nearfar.evaluate import PartitionEvaluation
from nearfar.evaluate.partition.exponentials import STREAMING, LogSum, State, nothing_yet, relative
from nearfar.evaluate.rows.queries import QueryEvaluation
from nearfar.evaluate.settings import Inputs
from nearfar.frameworks import Block
from nearfar.frameworks.torch import NAMESPACE as NS
from nearfar.rules import Anchors, EachPair, OnePositive, OneWay, Slopes
from nearfar.similarity import Place, Rows, Tile
from nearfar.torch.collectives import Ranks

_BUFFERS = 4


class Found(NamedTuple):
    value: torch.Tensor
    """Of the whole batch."""
    gradients: tuple[torch.Tensor, ...]
    """Of the own rows of both sides, whole; empty if none is wanted."""
    slopes: tuple[torch.Tensor, ...]
    """This rank's parts of those of temperature and bias."""


def refusal(evaluation: Any) -> str | None:
    """Why a ring does not serve an evaluation; None where it does."""
    plain = len(evaluation.names) == evaluation.parts == 2
    matched = isinstance(evaluation, PartitionEvaluation) and evaluation.pairing == "matched"
    queries = isinstance(evaluation, QueryEvaluation) and evaluation.negatives == "batch"
    known = {OnePositive} if matched else {OneWay, EachPair}
    if plain and (matched or queries) and type(evaluation.rule) in known:
        return None if evaluation.options.kernel != "fused" else "it takes no fused kernels"
    return "it takes CLIP, SigLIP and InfoNCE of two sides and nothing beside, without hardness"


def travel(
    evaluation: Any,
    ranks: Ranks,
    inputs: tuple[torch.Tensor, ...],
    sizes: list[int],
    gradient: bool,
) -> Found:
    """The loss of all ranks' rows, of which `sizes` tells each one's number."""
    journey = _Journey(evaluation, ranks, inputs, sizes)
    return journey.pairs(gradient) if journey.rule is None else journey.sums(gradient)


class _Meeting(NamedTuple):
    """Own rows and visiting ones."""

    own: Rows
    guest: Rows
    at_home: bool
    """Whether the visitors are the own rows' partners."""


class _Part(NamedTuple):
    """A block of the own rows against all visitors."""

    i: Block
    j: Block
    own: Rows
    tile: Tile
    scratch: Any


class _Journey:
    def __init__(
        self, evaluation: Any, ranks: Ranks, inputs: tuple[torch.Tensor, ...], sizes: list[int]
    ) -> None:
        self.ranks, self.sizes, self.n = ranks, sizes, sum(sizes)
        self.evaluation, self.similarity = evaluation, evaluation.similarity
        self.given: Inputs = evaluation.sort_out(NS, inputs)
        self.x, _ = (NS.matrix(z) for z in self.given.embeddings)
        # Rows travel as they are given.
        self.y = NS.matrix(inputs[1])
        self.two_ways = evaluation.pairing == "matched" if hasattr(evaluation, "pairing") else False
        pairs = type(evaluation.rule) is EachPair
        self.rule = None if pairs else OnePositive("all") if not self.two_ways else evaluation.rule
        self.weight = evaluation.reduction.weight(self.n) / (1 + self.two_ways)
        memory = evaluation.options_on(NS, self.x).memory
        self.entries = max(1, memory // (_BUFFERS * self.x.element_size()))

    def around(
        self, what: str, rows: list[torch.Tensor], own: list[torch.Tensor]
    ) -> Iterator[tuple[int, list[torch.Tensor], list[torch.Tensor]]]:
        """Every rank's `rows` in turn, with what is theirs: its last step brings that home."""
        count, number = self.ranks.count, self.ranks.number
        for step in range(count):
            yield (number - step) % count, rows, own
            here, coming = (self.sizes[(number - step - k) % count] for k in (0, 1))
            last = step == count - 1
            parts = [*([] if last else rows), *own]
            if count > 1 and parts:
                found = self.ranks.pass_on(what, parts, here, coming)
                rows, own = found[: len(parts) - len(own)], found[len(parts) - len(own) :]
        yield number, [], own

    def meet(self, guest: torch.Tensor, origin: int) -> _Meeting:
        sides = (self.x, guest.to(self.x.dtype))
        own, other = self.similarity.prepare(NS, sides, self.given.temperature)
        return _Meeting(own, other, origin == self.ranks.number)

    def parts(self, meeting: _Meeting) -> Iterator[_Part]:
        m, width = len(self.x), len(meeting.guest.p)
        side = max(1, self.entries // max(1, width))
        everyone = Block(0, width)
        with NS.scratch() as scratch:
            for start in range(0, m, side):
                i = Block(start, min(side, m - start))
                rows = meeting.own.block(NS, i)
                tile = self.similarity.tile(NS, rows, meeting.guest, None, scratch)
                yield _Part(i, everyone, rows, tile, scratch)

    def pull(
        self,
        meeting: _Meeting,
        slopes: Callable[[_Part], torch.Tensor],
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Gradients of own and visiting rows, and a part of that of the temperature."""
        gradients = tuple(torch.zeros_like(rows.p) for rows in meeting[:2])
        for part in self.parts(meeting):
            places = Place(0, part.i), Place(1, part.j)
            rows = part.own, meeting.guest
            g = slopes(part)
            gradients = self.similarity.vjp_(
                NS, gradients, places, *rows, part.tile, g, part.scratch
            )
        restored = [
            self.similarity.restore(NS, rows, g, self.given.temperature)
            for rows, g in zip(meeting[:2], gradients, strict=True)
        ]
        slope = sum((torch.as_tensor(s, dtype=self.x.dtype) for _, s in restored), self.zero)
        return [z for z, _ in restored], slope

    @property
    def zero(self) -> torch.Tensor:
        return self.x.new_zeros(())

    def total(self, x: torch.Tensor) -> torch.Tensor:
        return self.ranks.add("sums", x)

    def sums(self, gradient: bool) -> Found:
        """Losses of partition sums: once round for them, and once more for the gradient."""
        own, linear = nothing_yet(NS, len(self.x), self.x), self.x.new_zeros(len(self.x))
        columns = list(nothing_yet(NS, len(self.y), self.x)) if self.two_ways else []
        for origin, rows, guests in self.around("ring sums", [self.y], columns):
            columns = guests
            if not rows or not len(rows[0]) or not len(self.x):
                continue
            meeting = self.meet(rows[0], origin)
            for i, j, _, tile, _ in self.parts(meeting):
                logits = tile.logits.clone()
                if meeting.at_home:
                    linear[i.start : i.start + i.size] = NS.diagonal(logits, i, j)
                    logits = NS.fill_diagonal_(logits, i, j, -float("inf"))
                if self.two_ways:
                    state: State = (guests[0], guests[1])
                    guests[:] = STREAMING.absorb(NS, state, j, logits.clone(), 0)
                own = STREAMING.absorb(NS, own, i, logits, 1)
        states = [own, tuple(columns)] if self.two_ways else [own]
        seen = [STREAMING.log(NS, state, -float("inf")) for state in states]
        finished = [self.finish(log, linear) for log in seen]
        value = self.total(self.weight * sum((loss.sum() for loss, _ in finished), self.zero))
        if not gradient:
            return Found(value, (), ())
        return Found(value, *self.back(seen, [slopes for _, slopes in finished]))

    def finish(self, log: LogSum, linear: torch.Tensor) -> tuple[torch.Tensor, Slopes]:
        assert self.rule is not None
        shift, logs = relative(NS, self.rule.sums, (log,))
        anchors = Anchors(logs, linear - shift, None, 1, self.n - 1, self.given.temperature, shift)
        return self.rule.finish(NS, anchors)

    def back(
        self, seen: list[LogSum], slopes: list[Slopes]
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        weighed = [
            STREAMING.weigh(NS, self.weight * s.logs[0], log)
            for s, log in zip(slopes, seen, strict=True)
        ]
        positives: Any = sum(self.weight * s.linear for s in slopes)
        to_own, part = torch.zeros_like(self.x), self.zero
        home = [torch.zeros_like(self.x[: len(self.y)])]
        columns = list(weighed[1]) if self.two_ways else []
        for origin, rows, gradients in self.around("ring rows", [self.y, *columns], home):
            home = gradients
            if not rows or not len(rows[0]) or not len(self.x):
                continue
            meeting = self.meet(rows[0], origin)
            column = (rows[1], rows[2]) if self.two_ways else None

            def one(
                part: _Part,
                meeting: _Meeting = meeting,
                column: State | None = column,
            ) -> torch.Tensor:
                i, j, _, tile, scratch = part
                logits = tile.logits.clone()
                if meeting.at_home:
                    logits = NS.fill_diagonal_(logits, i, j, -float("inf"))
                row = tuple(NS.rows(x, i) for x in weighed[0])
                g: torch.Tensor = STREAMING.coefficients(
                    NS, logits, 1.0, row, column, scratch, kept=False
                )
                if meeting.at_home:
                    g.diagonal(i.start).copy_(NS.rows(positives, i))
                return g

            (mine, theirs), slope = self.pull(meeting, one)
            to_own, part = to_own + mine, part + slope
            gradients[0] += theirs
        return (to_own, home[0]), (part,)

    def pairs(self, gradient: bool) -> Found:
        """SigLIP, whose pairs know nothing of each other: once round."""
        rule, bias = self.evaluation.rule, self.given.bias
        loss, parts = self.zero, [self.zero, self.zero]
        to_own = torch.zeros_like(self.x)
        home = [torch.zeros_like(self.x[: len(self.y)])] if gradient else []
        for origin, rows, gradients in self.around("ring rows", [self.y], home):
            home = gradients
            if not rows or not len(rows[0]) or not len(self.x):
                continue
            meeting = self.meet(rows[0], origin)
            losses: list[torch.Tensor] = []

            def one(
                part: _Part,
                meeting: _Meeting = meeting,
                losses: list[torch.Tensor] = losses,
            ) -> torch.Tensor:
                i, j, _, tile, _ = part
                logits = tile.logits + bias
                positive = logits.new_full((i.size,), float("inf"))
                if meeting.at_home:
                    positive = NS.diagonal(logits, i, j)
                    logits = NS.fill_diagonal_(logits, i, j, -float("inf"))
                weight = self.weight * torch.ones_like(positive) if gradient else None
                found, g, slope = rule.rows(NS, logits, positive, weight)
                losses.append(found.sum())
                if g is not None and meeting.at_home:
                    g.diagonal(i.start).copy_(slope)
                if g is not None:
                    parts[1] = parts[1] + g.sum()
                return g

            if gradient:
                (mine, theirs), slope = self.pull(meeting, one)
                to_own, parts[0] = to_own + mine, parts[0] + slope
                gradients[0] += theirs
            else:
                for part in self.parts(meeting):
                    one(part)
            loss = loss + sum(losses, self.zero)
        value = self.total(self.weight * loss)
        return Found(value, (to_own, home[0]), tuple(parts)) if gradient else Found(value, (), ())
