"""A loss whose pairs or triplets somebody has listed, as miners do.

Whom an anchor meets follows no label then, and the logits of all rows with all candidates are made:
a list of pairs may be as long. What a loss makes of them is its rule's, as everywhere.
"""

from typing import Any, NamedTuple, cast

import torch

from nearfar.evaluate import Reduction
from nearfar.frameworks import Block
from nearfar.frameworks.torch import full_precision
from nearfar.frameworks.torch.namespace import PURE as NS
from nearfar.losses import BatchTriplet, Loss, PairMargin, Triplet
from nearfar.losses.composed import Composed
from nearfar.rules import Anchors, Hinge, NearOrApart, Others, PartitionRule
from nearfar.similarity import Similarity


class Pairs(NamedTuple):
    """Numbers of rows and of candidates, each (P,) or (Q,)."""

    anchor: torch.Tensor
    positive: torch.Tensor
    other_anchor: torch.Tensor
    negative: torch.Tensor

    def triplets(self) -> "Triplets":
        """Every positive of an anchor with every negative of it."""
        first, second = torch.where(self.anchor[:, None] == self.other_anchor)
        return Triplets(self.anchor[first], self.positive[first], self.negative[second])


class Triplets(NamedTuple):
    """Numbers of rows and of candidates, (T,)."""

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor

    def pairs(self) -> Pairs:
        return Pairs(self.anchor, self.positive, self.anchor, self.negative)


def refusal(loss: Loss) -> str | None:
    """Why a list of pairs means nothing to a loss; None where it does."""
    if isinstance(loss, Composed):
        return next(filter(None, (refusal(term.loss) for term in loss.terms_of())), None)
    if isinstance(loss, Triplet | PairMargin):
        return None
    if isinstance(loss, BatchTriplet):
        if loss.mining == "all":
            return None
        return f'mines triplets itself, mining="{loss.mining}": use mining="all"'
    if not isinstance(loss.rule(), PartitionRule):
        return "needs all rows of a batch: use SupCon, BatchTriplet, Triplet or PairMargin"
    if loss.stated("include_self", False):
        return "counts an anchor itself, which no list has: use include_self=False"
    return None


def value(
    loss: Loss, rows: torch.Tensor, candidates: torch.Tensor, listed: Pairs | Triplets
) -> torch.Tensor:
    """The loss of rows (n, d) as anchors and of the candidates (m, d) that are listed for them."""
    if isinstance(loss, Composed):
        parts = [
            weight * value(one, rows[:, :features], candidates[:, :features], listed)
            for one, weight, features in loss.terms_of()
        ]
        return loss.scale * torch.stack(parts).sum()
    dtype = NS.compute_dtype(rows, candidates)
    temperature = loss.stated("temperature", 1.0)
    with full_precision((rows,)):
        logits: torch.Tensor = _Logits.apply(
            loss.comparison, temperature, rows.to(dtype), candidates.to(dtype)
        )
        found = Reduction(
            loss.reduction,
            loss.factor,
            loss.stated("average", "anchors"),
            loss.stated("without_positives", "skip"),
        )
        if isinstance(loss, Triplet | BatchTriplet):
            triplets = listed.triplets() if isinstance(listed, Pairs) else listed
            return _of_triplets(loss, logits, triplets, found)
        pairs = listed.pairs() if isinstance(listed, Triplets) else listed
        if isinstance(loss, PairMargin):
            return _of_pairs(loss, logits, pairs, found)
        return _of_sums(cast(PartitionRule, loss.rule()), logits, pairs, temperature, found)


def _of_triplets(
    loss: Triplet | BatchTriplet, logits: torch.Tensor, at: Triplets, reduction: Reduction
) -> torch.Tensor:
    far = logits[at.anchor, at.negative][:, None]
    losses, _, _ = Hinge(loss.margin).rows(NS, far, logits[at.anchor, at.positive], None)
    if isinstance(loss, Triplet):
        if loss.reduction == "none":
            return losses * loss.factor
        return losses.sum() * reduction.weight(max(len(losses), 1))
    each = _by_anchor(at.anchor, losses, logits)
    listed = _by_anchor(at.anchor, torch.ones_like(losses), logits)
    active = _by_anchor(at.anchor, (losses > 0).to(losses.dtype), logits)
    terms = active if loss.count == "active" else listed
    return _reduced(each, reduction.factor(NS, terms, listed > 0), reduction)


def _of_pairs(
    loss: PairMargin, logits: torch.Tensor, at: Pairs, reduction: Reduction
) -> torch.Tensor:
    anchor = torch.cat([at.anchor, at.other_anchor])
    chosen = torch.cat([logits[at.anchor, at.positive], logits[at.other_anchor, at.negative]])
    same = torch.arange(len(chosen), device=chosen.device) < len(at.anchor)
    # To the rule each pair is an anchor that meets one row, which is not itself.
    diagonal = Block(0, len(chosen)), Block(len(chosen), 1)
    other = Others(diagonal, same[:, None], Block(0, 1), None, None, None, itself=0)
    losses, _, _ = NearOrApart(loss.margin).rows(NS, chosen[:, None], other, None)
    if loss.reduction == "mean":
        return losses.sum() * reduction.weight(max(len(losses), 1))
    counts = _by_anchor(anchor, torch.ones_like(losses), logits)
    return _reduced(
        _by_anchor(anchor, losses, logits) / counts.clamp(min=1), loss.factor, reduction
    )


def _by_anchor(anchor: torch.Tensor, terms: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return logits.new_zeros(len(logits)).index_add(0, anchor, terms)


def _reduced(each: torch.Tensor, factor: Any, reduction: Reduction) -> torch.Tensor:
    return each * factor if reduction.reduction == "none" else (each * factor).sum()


def _of_sums(
    rule: PartitionRule,
    logits: torch.Tensor,
    at: Pairs,
    temperature: float,
    reduction: Reduction,
) -> torch.Tensor:
    members = {
        "positives": _marked(logits, at.anchor, at.positive),
        "negatives": _marked(logits, at.other_anchor, at.negative),
    }
    positives, negatives = members["positives"], members["negatives"]
    if bool((positives & negatives).any()):
        raise ValueError(
            "expected indices_tuple to name a pair once, as positive or as negative; received "
            "pairs that are both; look at the labels that the miner was given"
        )
    shift: Any = 0.0
    if rule.takes_shift:
        never = -float("inf")
        shift = logits.detach().masked_fill(~(positives | negatives), never).amax(1)
        shift = shift.masked_fill(shift == never, 0)
        logits = logits - shift[:, None]
    logs = [_log_sum(s.times * logits, members[s.over], rule.empty(s.over)) for s in rule.sums]
    pair = logits.new_zeros(len(logits))
    if rule.pair is not None:
        phi = rule.pair.value(NS, torch.where(positives, logits, 0) - logs[0][:, None])
        log = rule.pair.log
        pair = _log_sum(phi, positives, 0.0) if log else torch.where(positives, phi, 0).sum(1)
    count, others = (x.sum(1).to(logits.dtype) for x in (positives, negatives))
    counted = count > 0 if rule.needs_positives else count >= 0
    if rule.needs_negatives:
        counted = counted & (others > 0)
    linear = torch.where(positives, logits, 0).sum(1)
    anchors = Anchors(tuple(logs), linear, pair, count.clamp(min=1), others, temperature, shift)
    losses, _ = rule.finish(NS, anchors)
    losses = torch.where(counted, losses, 0)
    return _reduced(losses, reduction.weights(NS, count, counted), reduction)


def _marked(logits: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    marks = torch.zeros_like(logits, dtype=torch.bool)
    marks[rows, columns] = True
    return marks


def _log_sum(x: torch.Tensor, members: torch.Tensor, empty: float) -> torch.Tensor:
    some = members.any(1)
    # An empty row has a sum of its own first, so that no infinity meets another in its gradient.
    kept = x.masked_fill(~members & some[:, None], -float("inf"))
    return torch.where(some, kept.logsumexp(1), empty)


class _Logits(torch.autograd.Function):  # type: ignore[misc]
    """The logits of all rows with all candidates, (n, m), by the similarity's own gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        similarity: Similarity,
        temperature: float,
        rows: torch.Tensor,
        candidates: torch.Tensor,
    ) -> torch.Tensor:
        ctx.similarity, ctx.temperature = similarity, temperature
        ctx.save_for_backward(rows, candidates)
        x, y = similarity.prepare(NS, (rows, candidates), temperature)
        return cast(torch.Tensor, similarity.tile(NS, x, y, None, None).logits)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        similarity, temperature = ctx.similarity, ctx.temperature
        with full_precision(ctx.saved_tensors):
            x, y = similarity.prepare(NS, ctx.saved_tensors, temperature)
            tile = similarity.tile(NS, x, y, None, None)
            weights = similarity.pair_weights_(NS, upstream, tile)
            found = []
            for flow, one, other in ((weights, x, y), (weights.turned(NS), y, x)):
                start, everyone = torch.zeros_like(one.p), Block(0, len(one.p))
                g = similarity.accumulate_(NS, start, everyone, flow, one, other, None)
                found.append(similarity.restore(NS, one, g, temperature)[0])
        return None, None, *found
