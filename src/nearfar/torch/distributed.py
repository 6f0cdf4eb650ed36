"""A loss over the batch of all processes under torch.distributed, with its exact gradient."""

from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch

from nearfar.evaluate import PartitionEvaluation
from nearfar.evaluate.partition.sharded import strip
from nearfar.evaluate.rows.evaluation import RowEvaluation
from nearfar.frameworks import Block, glue_of
from nearfar.frameworks.torch import NAMESPACE, full_precision
from nearfar.losses import CLIP, InfoNCE, SigLIP, arguments
from nearfar.losses import Loss as Statement
from nearfar.losses import inputs as checks
from nearfar.losses.composed import Composed
from nearfar.rules import ProxyRule
from nearfar.torch import given, module, ring
from nearfar.torch.agreement import agree, refuse
from nearfar.torch.collectives import Ranks

Gradients = dict[str, torch.Tensor]
"""By the name of the input or parameter."""


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
    exact, and no faster than on one process. A sum of losses, or one of several prefixes of the
    features, gathers rows once, and each of its losses goes its own way.

    Proxies are a parameter of all ranks, as a temperature is, and have to be the same on each: of
    ProxyNCA, CosFace, SoftTriple and their kin a rank computes its own rows and sends one number
    and the proxies' gradient; ProxyAnchor, whose rows meet in a proxy's sum, gathers rows and is
    computed whole by every rank.
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
    proxies
        As for `nearfar.torch.Loss`; seed all ranks alike where it is made, or hand it one rank's
        state, as DistributedDataParallel does with the model's.

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
        proxies: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(loss, learn_temperature, proxies)
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
        shared = {k: x for k, x in replaced.items() if isinstance(x, torch.Tensor)}
        tensors = (*rows.values(), *shared.values())
        wanted = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
        sizes, wanted = agree(ranks, self.loss, rows, call, wanted)
        task = _Task(
            self.loss,
            ranks,
            tuple(rows),
            sizes,
            replaced,
            tuple(shared),
            self.gradient,
            self.exchange,
            wanted,
        )
        value: torch.Tensor = _Glue.apply(task, *tensors)
        return value

    def _own(
        self, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
        """This rank's rows, what all ranks have alike, and what they have to agree on in words."""
        replaced = {name: named.pop(name) for name in self.loss.parameters if name in named}
        parameters = self.loss._parameters(NAMESPACE, replaced)
        loss, name = self.loss, type(self.loss).__name__
        call = (
            f"{loss}, {loss.options}, gradient={self.gradient!r}, exchange={self.exchange!r}, "
            f"parameters={parameters}"
        )
        bound = arguments.bind(name, loss.inputs, loss.optional, inputs, named, loss.keywords)
        if "proxies" in bound:
            proxies = bound.pop("proxies")
            call += f", proxies of {given.fingerprint('proxies', proxies)}"
            replaced = {"proxies": proxies, **replaced}
        rows = given.taken(loss, bound)
        # Where rows stay on their rank nobody else will see what is wrong with them.
        if self.exchange == "ring":
            for key, x in rows.items():
                if key in loss.embeddings and len(x):
                    checks.embeddings(NAMESPACE, key, x, loss.options.check_finite)
        elif _of_rows_alone(loss) and len(rows[loss.embeddings[0]]):
            loss._open((), given.called(loss, rows) | replaced)
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
    shared: tuple[str, ...]
    """Arrays that are alike on all ranks: proxies and parameters."""
    gradient: str
    exchange: str
    wanted: bool
    """Whether any rank wants gradients."""

    def run(
        self, rows: tuple[torch.Tensor, ...], shared: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The global value and, if wanted, the gradients of `rows` and `shared`."""
        values = self.replaced | dict(zip(self.shared, shared, strict=True))
        if self.exchange == "ring":
            value, found = self._by_ring(rows, values)
        else:
            own = dict(zip(self.names, rows, strict=True))
            given.check_aligned(self.loss, own, self.sizes)
            every = own
            if not _of_rows_alone(self.loss):
                gathered = self.ranks.gather("embeddings", rows, self.sizes)
                every = dict(zip(self.names, gathered, strict=True))
            own, every = (given.called(self.loss, x) | values for x in (own, every))
            value, found = self._computed(self.loss, own, every)
        return value, self._scaled(found) if self.wanted else []

    def _computed(
        self, loss: Statement, own: dict[str, Any], every: dict[str, Any]
    ) -> tuple[torch.Tensor, Gradients]:
        """The value, whole gradients of the own rows, and parts of those of what is shared."""
        if isinstance(loss, Composed):
            return self._of_terms(loss, own, every)
        if _of_rows_alone(loss):
            return self._by_rows(loss, own)
        call = loss._open((), every)
        if isinstance(call.evaluation, PartitionEvaluation):
            return self._by_strips(call)
        # Proxies are no rows, of which an evaluation by rows would send parts.
        if isinstance(call.evaluation, RowEvaluation) and "proxies" not in call.names:
            return self._by_shares(call)
        return self._by_each(call)

    def _of_terms(
        self, loss: Composed, own: dict[str, Any], every: dict[str, Any]
    ) -> tuple[torch.Tensor, Gradients]:
        """Each term by itself, of the features that it sees."""
        total: Any = 0.0
        gradients: Gradients = {}
        for term in loss._terms:
            seen = (
                {
                    k: x[..., : term.features] if k in loss.embeddings else x
                    for k, x in given.items()
                }
                for given in (own, every)
            )
            value, found = self._computed(term.loss, *seen)
            weight = loss.scale * term.weight
            total = total + weight * value
            for name, g in found.items():
                rest = every[name].shape[-1] - g.shape[-1] if g.ndim else 0
                whole = torch.nn.functional.pad(weight * g, (0, rest)) if rest else weight * g
                gradients[name] = gradients[name] + whole if name in gradients else whole
        return total, gradients

    def _by_ring(
        self, rows: tuple[torch.Tensor, ...], values: dict[str, Any]
    ) -> tuple[torch.Tensor, Gradients]:
        loss, arrays = self.loss, (*rows, *(values[name] for name in self.shared))
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
            return found.value, {}
        slopes = dict(zip(loss.parameters, found.slopes, strict=True))
        gradients = dict(zip(self.names, found.gradients, strict=True))
        return found.value, gradients | {name: slopes[name] for name in self.shared}

    def _by_strips(self, call: Any) -> tuple[torch.Tensor, Gradients]:
        ranks, evaluation = self.ranks, call.evaluation
        counts = [each[0] for each in self.sizes]
        shares = [Block(sum(counts[:rank]), count) for rank, count in enumerate(counts)]
        times = 2 if evaluation.pairing == "views" else 1

        def complete(parts: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            lengths = [[n * times] * len(parts) for n in counts]
            return ranks.gather("partition sums", parts, lengths)

        arrays = call.arrays
        found = strip(evaluation, NAMESPACE, arrays, shares, ranks.number, complete, self.wanted)
        if not self.wanted:
            return found.value, {}
        slopes = dict.fromkeys(self.shared, found.by_temperature)
        return found.value, dict(zip(call.embeddings, found.gradients, strict=True)) | slopes

    def _by_shares(self, call: Any) -> tuple[torch.Tensor, Gradients]:
        ranks, names = self.ranks, self._named(call)
        evaluation = replace(call.evaluation, share=(ranks.number, ranks.count))
        part = evaluation.partial(NAMESPACE, call.arrays, self._differentiated(call))
        sums = ranks.add("sums", torch.stack([part.loss, part.terms]))
        factor = evaluation.reduction.factor(NAMESPACE, sums[1], part.usable, part.weights)
        if not self.wanted:
            return sums[0] * factor, {}
        found = dict(zip(names, part.gradients, strict=True))
        rows = [found[name] for name in call.embeddings]
        own = ranks.add_and_share(rows, [each[: len(rows)] for each in self.sizes])
        found |= dict(zip(call.embeddings, own, strict=True))
        return sums[0] * factor, {k: g * factor for k, g in found.items() if g is not None}

    def _by_rows(self, loss: Statement, own: dict[str, Any]) -> tuple[torch.Tensor, Gradients]:
        """Own rows, whose terms ask for nobody else's."""
        rows = own[loss.embeddings[0]]
        factor = loss._settings["reduction"].weight(sum(each[0] for each in self.sizes))
        gradients: Gradients = {}
        if len(rows):
            call = loss._open((), own)
            part = call.evaluation.partial(NAMESPACE, call.arrays, self._differentiated(call))
            pairs = zip(self._named(call), part.gradients, strict=True)
            gradients = {name: g * factor for name, g in pairs if g is not None}
            found = part.loss
        else:
            found = rows.new_zeros((), dtype=NAMESPACE.compute_dtype(rows))
            if self.wanted:
                of = (*loss.embeddings, *self.shared)
                gradients = {name: torch.zeros_like(own[name]) for name in of}
        return self.ranks.add("sums", found) * factor, gradients

    def _by_each(self, call: Any) -> tuple[torch.Tensor, Gradients]:
        """Every rank computes the whole, and keeps what is its own."""
        glue = glue_of(NAMESPACE)
        wanted = self._differentiated(call)
        value, found = glue.value_and_grad(call.evaluation, call.arrays, wanted)
        gradients: Gradients = {}
        for name, g in zip(self._named(call), found, strict=True):
            if g is not None and name in self.names:
                sizes = [each[self.names.index(name)] for each in self.sizes]
                gradients[name] = g.split(sizes)[self.ranks.number]
            elif g is not None:
                gradients[name] = g / self.ranks.count
        return value, gradients

    def _named(self, call: Any) -> tuple[str, ...]:
        """Of a call's arrays; the last of them are parameters."""
        parameters = [name for name in self.shared if name not in call.names]
        return (*call.names, *parameters)

    def _differentiated(self, call: Any) -> tuple[bool, ...]:
        of = {*call.embeddings, *self.shared}
        return tuple(self.wanted and name in of for name in self._named(call))

    def _scaled(self, found: Gradients) -> list[torch.Tensor | None]:
        rows = [found.get(name) for name in self.names]
        shared = [found[name] for name in self.shared]
        if self.gradient == "ddp_mean":
            rows = [None if g is None else g * self.ranks.count for g in rows]
            numbers = [k for k, g in enumerate(shared) if not g.ndim]
            if numbers:
                added = self.ranks.add("parameters", torch.stack([shared[k] for k in numbers]))
                for k, g in zip(numbers, added, strict=True):
                    shared[k] = g
            shared = [self.ranks.add("proxies", g) if g.ndim else g for g in shared]
        return [*rows, *shared]


def _of_rows_alone(loss: Statement) -> bool:
    """Whether a row's term asks for no other rows: nothing but proxies."""
    if isinstance(loss, Composed):
        return all(_of_rows_alone(term.loss) for term in loss._terms)
    return isinstance(loss.rule(), ProxyRule)


class _Glue(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, task: _Task, *inputs: torch.Tensor) -> torch.Tensor:
        rows, shared = inputs[: len(task.names)], inputs[len(task.names) :]
        with full_precision(inputs):
            value, found = task.run(rows, shared)
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
