"""Rows of several processes put together and given back, whatever their numbers."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist

# Named so since torch 2.13, which warns of the older name.
_OLDER = getattr(dist, "all_gather_into_tensor", None)
all_gather: Any = getattr(dist, "all_gather_single", _OLDER)


def send_on(out: torch.Tensor, found: torch.Tensor, group: Any) -> None:
    """Bytes to the next rank, and as many as `found` holds from the one before."""
    number, count = dist.get_rank(group), dist.get_world_size(group)
    world = dist.group.WORLD if group is None else group
    after, before = (dist.get_global_rank(world, (number + k) % count) for k in (1, -1))
    calls = []
    if out.numel():
        calls.append(dist.P2POp(dist.isend, out, after, group))
    if found.numel():
        calls.append(dist.P2POp(dist.irecv, found, before, group))
    for work in dist.batch_isend_irecv(calls) if calls else ():
        work.wait()


class Ranks:
    """The processes of a group; every method is a collective that all of them have to call."""

    def __init__(self, group: Any) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "expected torch.distributed to be initialised before the loss is called; start the "
                "program with torchrun and call torch.distributed.init_process_group()"
            )
        self.group = group
        self.number, self.count = dist.get_rank(group), dist.get_world_size(group)

    def table(self, numbers: Sequence[int], device: torch.device) -> list[list[int]]:
        """One row of whole numbers from each rank."""
        own = torch.tensor(numbers, dtype=torch.int64, device=device)
        every = own.new_empty(self.count * len(numbers))
        self._call("sizes", all_gather, every, own)
        rows: list[list[int]] = every.view(self.count, -1).tolist()
        return rows

    def gather(
        self, what: str, parts: Sequence[torch.Tensor], sizes: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, ...]:
        """Each part with the rows of all ranks, of whose first axes `sizes` are one list a rank.

        All parts travel as the bytes of one buffer, as long as the longest rank's.
        """
        widths = [x.shape[1:].numel() * x.itemsize for x in parts]
        lengths = [[n * w for n, w in zip(rank, widths, strict=True)] for rank in sizes]
        longest = max(sum(each) for each in lengths)
        own = torch.empty(longest, dtype=torch.uint8, device=parts[0].device)
        starts = list(accumulate(lengths[self.number], initial=0))
        for x, start, length in zip(parts, starts, lengths[self.number], strict=False):
            own[start : start + length] = x.contiguous().view(-1).view(torch.uint8)
        every = own.new_empty(self.count * longest)
        self._call(what, all_gather, every, own)
        rows = every.view(self.count, longest)
        found = []
        for k, x in enumerate(parts):
            pieces = []
            for rank, each in enumerate(lengths):
                start = sum(each[:k])
                pieces.append(rows[rank, start : start + each[k]])
            found.append(torch.cat(pieces).view(x.dtype).view(-1, *x.shape[1:]))
        return tuple(found)

    def add_and_share(self, parts: Sequence[torch.Tensor], sizes: Sequence[Sequence[int]]) -> Any:
        """Each part's rows of this rank, added up over all ranks: `gather` the other way round."""
        rows = [part.split([rank[k] for rank in sizes]) for k, part in enumerate(parts)]
        out = torch.cat([x[rank].reshape(-1) for rank in range(self.count) for x in rows])
        lengths = [sum(x[rank].numel() for x in rows) for rank in range(self.count)]
        own = lengths[self.number]
        found = out.new_empty(self.count * own)
        self._call("gradients", dist.all_to_all_single, found, out, [own] * self.count, lengths)
        added = found.view(self.count, own).sum(0)
        mine = [x[self.number] for x in rows]
        pieces = added.split([x.numel() for x in mine])
        return tuple(piece.view(x.shape) for piece, x in zip(pieces, mine, strict=True))

    def pass_on(
        self, what: str, parts: Sequence[torch.Tensor], rows: int, coming: int
    ) -> list[torch.Tensor]:
        """What the rank before this one gives, `coming` rows of each part, while these go on."""
        widths = [x.shape[1:].numel() * x.itemsize for x in parts]
        out = torch.cat([x.contiguous().view(-1).view(torch.uint8) for x in parts])
        found = out.new_empty(coming * sum(widths))
        self._call(what, send_on, out, found)
        pieces = found.split([coming * width for width in widths])
        # A piece may begin where its dtype cannot.
        return [
            piece.clone().view(x.dtype).view(coming, *x.shape[1:])
            for piece, x in zip(pieces, parts, strict=True)
        ]

    def add(self, what: str, x: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, in place."""
        self._call(what, dist.all_reduce, x)
        return x

    def _call(self, what: str, collective: Callable[..., Any], *arguments: Any) -> None:
        try:
            collective(*arguments, group=self.group)
        except RuntimeError as error:
            raise RuntimeError(
                f"expected {self.count} ranks to exchange {what}; on rank {self.number} this "
                f"failed: {error}; another rank has ended or was late: look for its error first"
            ) from error
