"""A loss over the batch of all processes under torch.distributed, with its exact gradient."""

from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch

from nearfar.evaluate import CandidateEvaluation, PartitionEvaluation
from nearfar.evaluate.partition.sharded import strip
from nearfar.evaluate.rows.evaluation import RowEvaluation
from nearfar.frameworks import Block, glue_of
from nearfar.frameworks.torch import NAMESPACE, full_precision
from nearfar.losses import CLIP, InfoNCE, SigLIP, arguments
from nearfar.losses import Loss as Statement
from nearfar.losses import inputs as checks
from nearfar.losses.composed import Composed
from nearfar.torch import given, module, ring
from nearfar.torch.agreement import agree, refuse
from nearfar.torch.collectives import Ranks


class Loss(module.Loss):
    """A nearfar loss of the global batch: the rows of all ranks, in the order of the ranks.

    Every rank calls it with its own rows, of which it may have any number, none included, and
    gets the value of the whole batch and the gradient of that value by its own rows:

        W dL/dx_r  for gradient="ddp_mean",    dL/dx_r  for gradient="sum",

    with W ranks; DistributedDataParallel divides the first by W when it averages. Learned or given
    temperatures and biases get the same whole gradient dL/dt on every rank under "ddp_mean", which
    an average leaves as it is, so that they may stand inside DDP or outside; under "sum" each rank
    gets its part, to be added up as all others are.

    Losses of partition sums (NTXent, SupCon, HCL, DCL, CLIP) gather embeddings once and sums once
    and send no gradients; the others compute a share of the anchors each and send gradients back.
    With several sets of candidates (references, queues, ids, weights, ``exclude``, graded targets)
    losses of partition sums are computed whole by every rank, which keeps its own rows' gradients:
    exact, and no faster than on one process.
    All communication is in the forward call; the backward call multiplies. Memory per rank is
    O(n d + tile) for n rows in all. See docs/scaling.md. torch.compile leaves the call as it is, a
    break in the graph.

    Call it as the loss: ``criterion(a, b)``, ``criterion(embeddings, labels)``. Labels, targets,
    ids, weights and a guide's rows are gathered too, and have to be numbers. So are a reference
    with its labels, a queue and negatives (K, d): give what all ranks hold to one of them, and
    (0, d) to the others, or to each a part.

    Parameters
    ----------
    loss
        Any nearfar loss with reduction "mean" or "sum".
    learn_temperature
        As for `nearfar.torch.Loss`.
    gradient
        "ddp_mean" if gradients are averaged over ranks afterwards, "sum" if they are added up.
    group
        The process group; None: all processes.
    exchange
        "gather": every rank gathers all rows. "ring", for CLIP, SigLIP and InfoNCE of two sides:
        the rows of the second side go round the ranks, and a rank holds O(m d + tile) for the m
        rows of the longest; it sends more, see docs/scaling.md.

    Raises
    ------
    TypeError, ValueError
        As `nearfar.torch.Loss`; for reduction "none"; for a loss that does not fit into a ring, or
        what is given beside its two sides; at the call, as the loss, and where ranks
        differ in the loss, its options and parameters, in features or dtypes: on all ranks.
    RuntimeError
        At the call, if torch.distributed is not initialised, if another rank has refused its
        inputs, has ended or is later than the group's timeout; for the gradient of a gradient.
    """

    def __init__(
        self,
        loss: Statement,
        learn_temperature: bool = False,
        gradient: str = "ddp_mean",
        group: Any = None,
        exchange: str = "gather",
    ) -> None:
        super().__init__(loss, learn_temperature)
        if exchange not in ("gather", "ring"):
            raise ValueError(
                f'expected exchange to be "gather" or "ring"; received {exchange!r}; give "ring" '
                "where all ranks' rows do not fit into the memory of one"
            )
        if gradient not in ("ddp_mean", "sum"):
            raise ValueError(
                f'expected gradient to be "ddp_mean" or "sum"; received {gradient!r}; give '
                '"ddp_mean" under DistributedDataParallel'
            )
        if isinstance(loss, Composed):
            raise TypeError(
                f"expected a loss that is not made of others; received a {type(loss).__name__}; "
                "make a nearfar.torch.distributed.Loss of each of its losses, and add their values"
            )
        if "proxies" in loss.inputs:
            raise TypeError(
                f"expected a loss whose embeddings are rows of every rank; received a "
                f"{type(loss).__name__}, whose proxies are one set for all; call the loss itself "
                "on each rank, whose gradients DistributedDataParallel averages"
            )
        if loss.reduction == "none":
            raise ValueError(
                'expected a loss with reduction "mean" or "sum", received "none": ranks share one '
                "value; use the loss itself on gathered rows for a value per anchor"
            )
        self.gradient, self.group, self.exchange = gradient, group, exchange
        if exchange == "ring" and not isinstance(loss, CLIP | SigLIP | InfoNCE):
            raise ValueError(
                f'expected CLIP, SigLIP or InfoNCE for exchange="ring", whose second side goes '
                f'round; received {type(loss).__name__}; give exchange="gather"'
            )

    def forward(self, *inputs: Any, **named: Any) -> torch.Tensor:
        if torch.compiler.is_compiling():
            # Traced, the tiles of this rank's part would be unrolled, and compiled for minutes.
            return cast(torch.Tensor, torch.compiler.disable(self._exchange)(*inputs, **named))
        return self._exchange(*inputs, **named)

    def _exchange(self, *inputs: Any, **named: Any) -> torch.Tensor:
        ranks = Ranks(self.group)
        try:
            rows, replaced, call = self._own(inputs, self._values() | named)
        except Exception:
            refuse(ranks, (*inputs, *named.values()))
            raise
        learned = {k: x for k, x in replaced.items() if isinstance(x, torch.Tensor)}
        tensors = (*rows.values(), *learned.values())
        wanted = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
        sizes, wanted = agree(ranks, self.loss, rows, call, wanted)
        task = _Task(
            self.loss,
            ranks,
            tuple(rows),
            sizes,
            replaced,
            tuple(learned),
            self.gradient,
            self.exchange,
            wanted,
        )
        value: torch.Tensor = _Glue.apply(task, *tensors)
        return value

    def _own(
        self, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
        """This rank's rows, what replaces the loss's parameters, and what ranks have to share."""
        replaced = {name: named.pop(name) for name in self.loss.parameters if name in named}
        parameters = self.loss._parameters(NAMESPACE, replaced)
        loss, name = self.loss, type(self.loss).__name__
        call = (
            f"{loss}, {loss.options}, gradient={self.gradient!r}, exchange={self.exchange!r}, "
            f"parameters={parameters}"
        )
        bound = arguments.bind(name, loss.inputs, loss.optional, inputs, named, loss.keywords)
        rows = given.taken(loss, bound)
        if self.exchange == "ring":
            # Nobody else will see them.
            for key, x in rows.items():
                if key in loss.embeddings and len(x):
                    checks.embeddings(NAMESPACE, key, x, loss.options.check_finite)
        return rows, replaced, call

    def extra_repr(self) -> str:
        told = f"{super().extra_repr()}, gradient={self.gradient!r}"
        return told if self.exchange == "gather" else f"{told}, exchange={self.exchange!r}"


class _Task(NamedTuple):
    loss: Statement
    ranks: Ranks
    names: tuple[str, ...]
    sizes: list[list[int]]
    """Rows of each input: a list for each rank."""
    replaced: dict[str, Any]
    learned: tuple[str, ...]
    gradient: str
    exchange: str
    wanted: bool
    """Whether any rank wants gradients."""

    def run(
        self, rows: tuple[torch.Tensor, ...], learned: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The global value and, if wanted, the gradients of `rows` and `learned`."""
        if self.exchange == "ring":
            return self._by_ring(rows, learned)
        every = self.ranks.gather("embeddings", rows, self.sizes)
        values = self.replaced | dict(zip(self.learned, learned, strict=True))
        named = dict(zip(self.names, every, strict=True))
        call = self.loss._open((), given.called(self.loss, named) | values)
        given.check_aligned(self.loss, named, self.sizes)
        evaluation = call.evaluation
        if isinstance(evaluation, PartitionEvaluation):
            return self._by_strips(evaluation, call.arrays)
        if isinstance(evaluation, CandidateEvaluation):
            return self._by_each(evaluation, call.arrays)
        return self._by_shares(cast(RowEvaluation, evaluation), call.arrays)

    def _by_ring(
        self, rows: tuple[torch.Tensor, ...], learned: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        loss, arrays = self.loss, (*rows, *learned)
        values = self.replaced | dict(zip(self.learned, learned, strict=True))
        parameters = loss._parameters(NAMESPACE, values)
        evaluation = loss._evaluation(arrays, parameters, self.names)
        why = ring.refusal(evaluation)
        if why:
            raise ValueError(
                f'{type(loss).__name__}: expected a call that exchange="ring" serves; received '
                f'another: {why}; give exchange="gather"'
            )
        given.check_aligned(loss, dict(zip(self.names, rows, strict=True)), self.sizes)
        sizes = [each[0] for each in self.sizes]
        found = ring.travel(evaluation, self.ranks, arrays, sizes, self.wanted)
        if not self.wanted:
            return found.value, []
        slopes = dict(zip(loss.parameters, found.slopes, strict=True))
        return found.value, self._scaled(found.gradients, [slopes[name] for name in self.learned])

    def _by_strips(
        self, evaluation: PartitionEvaluation, arrays: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        ranks = self.ranks
        counts = [each[0] for each in self.sizes]
        shares = [Block(sum(counts[:rank]), count) for rank, count in enumerate(counts)]
        times = 2 if evaluation.pairing == "views" else 1

        def complete(parts: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            lengths = [[n * times] * len(parts) for n in counts]
            return ranks.gather("partition sums", parts, lengths)

        found = strip(evaluation, NAMESPACE, arrays, shares, ranks.number, complete, self.wanted)
        if not self.wanted:
            return found.value, []
        slopes = [] if found.by_temperature is None else [found.by_temperature]
        return found.value, self._scaled(found.gradients, slopes[: len(self.learned)])

    def _by_shares(
        self, evaluation: RowEvaluation, arrays: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        ranks = self.ranks
        evaluation = replace(evaluation, share=(ranks.number, ranks.count))
        facts = range(evaluation.parts, len(arrays) - len(self.learned))
        part = evaluation.partial(
            NAMESPACE, arrays, tuple(self.wanted and k not in facts for k in range(len(arrays)))
        )
        sums = ranks.add("sums", torch.stack([part.loss, part.terms]))
        factor = evaluation.reduction.factor(NAMESPACE, sums[1], part.usable, part.weights)
        if not self.wanted:
            return sums[0] * factor, []
        gradients = [cast(torch.Tensor, g) for g in part.gradients[: evaluation.parts]]
        own = ranks.add_and_share(gradients, [each[: evaluation.parts] for each in self.sizes])
        slopes = [cast(torch.Tensor, g) for g in part.gradients[len(arrays) - len(self.learned) :]]
        return sums[0] * factor, self._scaled(
            [g * factor for g in own], [g * factor for g in slopes] if self.learned else []
        )

    def _by_each(
        self, evaluation: CandidateEvaluation, arrays: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """Every rank computes the whole, and keeps what is its own."""
        parts, learned = evaluation.parts, len(arrays) - len(self.learned)
        wanted = tuple(self.wanted and not parts <= k < learned for k in range(len(arrays)))
        value, found = glue_of(NAMESPACE).value_and_grad(evaluation, arrays, wanted)
        if not self.wanted:
            return value, []
        own = [
            cast(torch.Tensor, g).split([each[k] for each in self.sizes])[self.ranks.number]
            for k, g in enumerate(found[:parts])
        ]
        return value, self._scaled(own, [g / self.ranks.count for g in found[learned:]])

    def _scaled(self, gradients: Any, slopes: list[torch.Tensor]) -> list[torch.Tensor | None]:
        facts = [None] * (len(self.names) - len(gradients))
        mean = self.gradient == "ddp_mean"
        if mean:
            gradients = [g * self.ranks.count for g in gradients]
            if slopes:
                slopes = list(self.ranks.add("parameters", torch.stack(slopes)))
        return [*gradients, *facts, *slopes]


class _Glue(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, task: _Task, *inputs: torch.Tensor) -> torch.Tensor:
        rows, learned = inputs[: len(task.names)], inputs[len(task.names) :]
        with full_precision(inputs):
            value, found = task.run(rows, learned)
        ctx.gives = [g is not None for g in found]
        ctx.like = [(x.dtype, x.shape) for x in inputs]
        ctx.save_for_backward(*(g for g in found if g is not None))
        return value

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "expected no gradient of the gradient of a distributed loss; received "
                "create_graph=True; use the loss itself on one process for second derivatives"
            )
        saved = iter(ctx.saved_tensors)
        found = [
            (next(saved) * upstream).to(dtype).view(shape) if gives else None
            for gives, (dtype, shape) in zip(ctx.gives, ctx.like, strict=True)
        ]
        return None, *found
