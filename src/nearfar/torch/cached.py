"""Gradients of a batch whose encoder fits into memory a chunk at a time only."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import get_device_states, set_device_states

from nearfar.losses import arguments

Encoder = Callable[[Any], torch.Tensor]

Rows = Any
"""What an encoder takes: a tensor, or several under names or in order, rows matched."""

Call = Callable[[Any, Rows], torch.Tensor]
"""How embeddings come of an encoder and rows."""


def cached_step(
    encoder: Encoder | Sequence[Encoder],
    batch: Rows | Sequence[Rows],
    loss: Callable[..., torch.Tensor],
    *facts: Any,
    chunk: int,
    **named: Any,
) -> torch.Tensor:
    """Add the gradients of ``loss(encoder(batch), *facts)`` to all parameters, chunk by chunk.

    The encoder runs over chunks without a graph; the loss sees all embeddings at once and gives
    their gradient G; the encoder runs again over each chunk, with a graph, and takes its rows of G
    back to its parameters. Nothing is approximated: this is what ``backward()`` gives for an
    encoder that ran over the same chunks, for one more forward pass. Memory is the larger of two:
    all embeddings and what the loss takes for them (its ``memory=``, and O(n d)); then one chunk's
    graph, all embeddings' gradient and the loss's idle buffers (at most 16 MiB). A chunk of a
    real encoder outweighs the loss; where it does not, bound that by ``with_options(memory=...)``.

    Source: Gao et al. 2021, GradCache, arXiv 2101.06983, section 3.

    Random numbers of the second pass are those of the first, on the CPU and on the devices of the
    inputs, and autocast is as it is around the call. Batch normalisation sees chunks, and each of
    them twice. Of encoders under DistributedDataParallel gradients are exchanged once, in the last
    chunk; with `nearfar.torch.distributed.Loss` all this is exact over all ranks.

    Parameters
    ----------
    encoder
        A module or function of rows (n, ...) to embeddings (n, d), called with one argument, a
        chunk of the same kind as the rows; or one for each input of `batch` (CLIP). For a model
        that takes names, ``lambda text: model(**text).pooler_output``.
    batch
        A tensor, or a mapping of tensors (tokenised text); or several of these, in a tuple or list
        (two views; images and texts), where one may also be a tuple of tensors. All tensors are cut
        along their first axis; what is no tensor in a mapping or tuple goes to every chunk.
    loss
        A nearfar loss, `nearfar.torch.Loss`, `nearfar.torch.distributed.Loss`, or any function of
        embeddings to a scalar; its own parameters get their gradients too. For a gradient scaler
        give ``lambda *z: scaler.scale(criterion(*z))``.
    *facts, **named
        What the loss takes after the embeddings: labels, targets, a temperature.
    chunk
        Rows that an encoder sees at once.

    Returns
    -------
    value
        The loss, detached.

    Raises
    ------
    TypeError, ValueError
        For a chunk that is no whole number above 0, a batch that is not of tensors, tensors of one
        input that differ in rows, encoders that do not match the batch, and embeddings without one
        row for each of the chunk's.

    >>> import torch, nearfar as nf, nearfar.torch
    >>> encoder = torch.nn.Linear(3, 2)
    >>> a, b = torch.rand(10, 3), torch.rand(10, 3)
    >>> value = nearfar.torch.cached_step(encoder, (a, b), nf.NTXent(), chunk=4)
    >>> encoder.weight.grad.shape
    torch.Size([2, 3])
    """
    arguments.whole("chunk", chunk)
    pairs = matched(encoder, batch)
    first = [[_first(_plainly, f, x) for x in _cut(rows, chunk)] for f, rows in pairs]
    leaves = [torch.cat([output for _, output in each]).requires_grad_() for each in first]
    runs = [[run for run, _ in each] for each in first]
    del first
    value, gradients = _through(loss, leaves, facts, named)
    del leaves  # of which the encoders' graphs need nothing
    todo = [
        (f, run, g)
        for (f, _), each, gradient in zip(pairs, runs, gradients, strict=True)
        for run, g in zip(each, gradient.split(chunk), strict=True)
    ]
    for k, (f, run, g) in enumerate(todo):
        # A wrapped encoder exchanges gradients when its last chunk of all is done.
        last = all(f is not other for other, _, _ in todo[k + 1 :])
        _again(_plainly, f, run, g, last)
    return value


def cached_embeddings(
    encoder: Encoder | Sequence[Encoder], batch: Rows | Sequence[Rows], *, chunk: int
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """Embeddings of a batch, whose gradient runs the encoder again, chunk by chunk.

    For trainers that call ``backward()`` themselves, on a loss that they may have scaled or added
    to others. The encoder runs over chunks without a graph; when the gradient of the embeddings
    comes it runs over each chunk again, with a graph, and takes its rows back to its parameters.
    All else is as `cached_step` says: random numbers, autocast, DistributedDataParallel (around the
    encoder, not around what calls this), memory. Where no gradients are recorded the encoder runs
    once.

    Parameters
    ----------
    encoder, batch, chunk
        As for `cached_step`.

    Returns
    -------
    embeddings
        A tensor (n, d), or a tuple of one for each input of `batch`.

    Raises
    ------
    TypeError, ValueError
        As `cached_step`.
    RuntimeError
        For the gradient of a gradient.

    >>> import torch, nearfar as nf, nearfar.torch
    >>> encoder = torch.nn.Linear(3, 2)
    >>> z = nearfar.torch.cached_embeddings(encoder, torch.rand(10, 3), chunk=4)
    >>> (0.5 * nf.SupCon()(z, torch.arange(10) % 3)).backward()
    >>> encoder.weight.grad.shape
    torch.Size([2, 3])
    """
    found = deferred(_plainly, matched(encoder, batch), chunk)
    return found[0] if isinstance(batch, torch.Tensor | Mapping) else tuple(found)


def deferred(call: Call, pairs: Sequence[tuple[Any, Rows]], chunk: int) -> list[torch.Tensor]:
    """The same of each pair of an encoder and its input, by `call`."""
    arguments.whole("chunk", chunk)
    cut = [(f, _cut(rows, chunk)) for f, rows in pairs]
    if not torch.is_grad_enabled():
        return [torch.cat([_first(call, f, x)[1] for x in parts]) for f, parts in cut]
    first = [(f, [_first(call, f, x) for x in parts]) for f, parts in cut]
    inputs = Counter(id(f) for f, _ in first)
    waiting = inputs.copy()
    kind = _tensors(cut[0][1][0])[0].device.type
    cast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def pull(gradient: torch.Tensor, f: Any, runs: list[_Run]) -> None:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "expected no gradient of the gradient of embeddings in chunks; received "
                "create_graph=True; embed the batch at once for second derivatives"
            )
        waiting[id(f)] -= 1
        with torch.enable_grad(), torch.autocast(kind, enabled=cast[0], dtype=cast[1]):
            for run, g in zip(runs, gradient.split(chunk), strict=True):
                _again(call, f, run, g, last=not waiting[id(f)] and run is runs[-1])
        # The graph may be kept, and gone back again.
        waiting[id(f)] = waiting[id(f)] or inputs[id(f)]

    found = []
    for f, each in first:
        z = torch.cat([output for _, output in each]).requires_grad_()
        z.register_hook(partial(pull, f=f, runs=[run for run, _ in each]))
        found.append(z)
    return found


def _plainly(encoder: Any, rows: Rows) -> torch.Tensor:
    output: torch.Tensor = encoder(rows)
    return output


def _again(call: Call, f: Any, run: "_Run", g: torch.Tensor, last: bool) -> None:
    with f.no_sync() if _is_wrapped(f) and not last else nullcontext():
        with run.replayed():
            output = call(f, run.rows)
        if output.requires_grad:  # not of a frozen encoder
            output.backward(g)


class _Run(NamedTuple):
    """A chunk, and what is needed to compute it again."""

    rows: Rows
    cpu: torch.Tensor
    devices: list[int]
    states: list[torch.Tensor]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        kind = _tensors(self.rows)[0].device.type
        with torch.random.fork_rng(self.devices, device_type=kind if self.devices else "cuda"):
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.states, device_type=kind)
            yield


def _first(call: Call, f: Any, rows: Rows) -> tuple[_Run, torch.Tensor]:
    cpu = torch.get_rng_state()
    devices, states = get_device_states(rows)
    # Casts of parameters that autocast keeps from here would have no graph in the second pass.
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad():
            # Without the wrapper, which would compare buffers with the other ranks.
            output = call(f.module if _is_wrapped(f) else f, rows)
    finally:
        torch.set_autocast_cache_enabled(kept)
    count = len(_tensors(rows)[0])
    if not isinstance(output, torch.Tensor) or output.shape[:1] != (count,):
        told = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ValueError(
            f"expected encoder to give a tensor with one row for each of the {count} rows of a "
            f"chunk; received {told}; wrap it in a function that returns embeddings"
        )
    return _Run(rows, cpu, list(devices), list(states)), output


def matched(encoder: Any, batch: Any) -> list[tuple[Any, Rows]]:
    """Each input of the batch with its encoder."""
    one = isinstance(batch, torch.Tensor | Mapping)
    inputs = [batch] if one else list(batch)
    if not inputs or not all(_tensors(x) for x in inputs):
        raise TypeError(
            "expected batch to be a tensor or a mapping of tensors, or several of these, each with "
            f"rows; received {type(batch).__name__}; give labels and targets after the loss"
        )
    for x in inputs:
        rows = sorted({len(tensor) for tensor in _tensors(x)})
        if len(rows) > 1:
            raise ValueError(
                f"expected the tensors of one input of batch to have as many rows; received {rows} "
                "rows; several inputs go into a tuple or list"
            )
    encoders = list(encoder) if isinstance(encoder, tuple | list) else [encoder] * len(inputs)
    if len(encoders) != len(inputs):
        raise ValueError(
            f"expected one encoder, or one for each input of batch; received {len(encoders)} "
            f"encoders and {len(inputs)} inputs"
        )
    return list(zip(encoders, inputs, strict=True))


def _tensors(rows: Any) -> list[torch.Tensor]:
    """The tensors of an input that have rows."""
    if isinstance(rows, torch.Tensor):
        return [rows] if rows.ndim else []
    if not isinstance(rows, Mapping | tuple | list):
        return []
    parts = rows.values() if isinstance(rows, Mapping) else rows
    return [x for x in parts if isinstance(x, torch.Tensor) and x.ndim]


def _cut(rows: Rows, chunk: int) -> list[Rows]:
    """The same, so many rows at a time."""
    if isinstance(rows, torch.Tensor):
        return list(rows.split(chunk))
    count = len(_tensors(rows)[0])

    def part(x: Any, start: int) -> Any:
        return x[start : start + chunk] if isinstance(x, torch.Tensor) and x.ndim else x

    starts = range(0, count, chunk)
    if isinstance(rows, Mapping):
        return [{name: part(x, start) for name, x in rows.items()} for start in starts]
    return [tuple(part(x, start) for x in rows) for start in starts]


def _through(
    loss: Callable[..., torch.Tensor],
    leaves: list[torch.Tensor],
    facts: tuple[Any, ...],
    named: dict[str, Any],
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The value, and its gradients by the leaves; its own parameters have theirs added."""
    value = loss(*leaves, *facts, **named)
    value.backward()
    gradients = [torch.zeros_like(z) if z.grad is None else z.grad for z in leaves]
    return value.detach(), gradients


def _is_wrapped(f: Any) -> bool:
    return isinstance(f, torch.nn.parallel.DistributedDataParallel)
