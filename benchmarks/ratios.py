"""Times of calls as ratios to what they are asked to be held against, in one process.

    python -m benchmarks.ratios [--only Circle] [--rounds 9] [--threads 2]

Value and gradient in PyTorch, float32. Both sides of a ratio take turns; a ratio is told of the
minima, and of the medians beside. With `--threads 1` the time that a processor works is counted,
which a busy machine changes less. Packages that are not installed are named and passed over. Quote
what an idle machine gives; the load is printed.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from statistics import median
from typing import Annotated, Any, NamedTuple

import torch
import typer

import nearfar as nf
from benchmarks import bare, prefixes

Call = Callable[[], Any]
BLOCK = 4096
"""Columns of a bare product, so that no product of a floor is larger than it need be."""


class Ratio(NamedTuple):
    """Time of `ours`, less that of `besides`, over the time of `other`, where at most so much is
    asked; else the other way round."""

    ours: Call
    other: Call
    at_most: float | None = None
    at_least: float | None = None
    besides: Call | None = None
    turns: int | None = None
    """At most so many, where a call takes long."""
    check: Call | None = None
    """Raises where both are not one loss."""


def rows(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit_rows(seed: int, *shape: int) -> torch.Tensor:
    """For peers that normalise, and losses that take rows as they are."""
    return torch.nn.functional.normalize(rows(seed, *shape), dim=1)


def labels(n: int, classes: int) -> torch.Tensor:
    return torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(n))


def few_pairs(n: int, pairs: int) -> torch.Tensor:
    """Labels of rows of which so many pairs are alike, and nobody else."""
    return torch.cat([torch.arange(pairs), torch.arange(n - pairs)])


def step(loss: Callable[..., Any], *given: Any, constant: int = -1, **named: Any) -> Call:
    """Value and gradient by all embeddings but the one of this number."""
    leaves = [
        x.clone().requires_grad_()
        if isinstance(x, torch.Tensor) and x.is_floating_point() and k != constant
        else x
        for k, x in enumerate(given)
    ]

    def call() -> None:
        for x in leaves:
            if isinstance(x, torch.Tensor):
                x.grad = None
        loss(*leaves, **named).backward()

    return call


def products(x: torch.Tensor, y: torch.Tensor, logits: int, to_x: int, to_y: int) -> Call:
    """So many bare products: of all rows, and of all pairs with the rows of either side."""
    square = torch.empty(len(x), min(BLOCK, len(y)))
    out, back = torch.empty_like(x), torch.empty_like(y)

    def call() -> None:
        for k in range(0, len(y), BLOCK):
            some = y[k : k + BLOCK]
            tile = square[:, : len(some)]
            for _ in range(logits):
                torch.mm(x, some.T, out=tile)
            for _ in range(to_x):
                torch.mm(tile, some, out=out)
            for _ in range(to_y):
                torch.mm(tile.T, x, out=back[k : k + BLOCK])

    return call


def against_reference() -> dict[str, Ratio]:
    x, y = rows(0, 4096, 128), rows(1, 65536, 128)
    given = x, labels(4096, 500), y, labels(65536, 500)
    return {
        "SupCon, 4096 x 65536, both gradients / 4 products": Ratio(
            step(nf.SupCon(), *given), products(x, y, 2, 1, 1), at_most=1.4
        ),
        "SupCon, 4096 x 65536, a constant reference / 3 products": Ratio(
            step(nf.SupCon(), *given, constant=2), products(x, y, 2, 1, 0), at_most=1.4
        ),
    }


def left_out() -> dict[str, Ratio]:
    x, y, g, h = (rows(k, 4096, 128) for k in range(4))
    guide = nf.Exclude(by="guide", margin=0.1)
    by_self = nf.Exclude(by="self", margin=0.1)
    found = {
        "CLIP with ids / without, 4096": Ratio(
            step(nf.CLIP(), x, y, ids=labels(4096, 3000)), step(nf.CLIP(), x, y), at_most=1.15
        )
    }
    # The guide's products of all pairs, once: of two views half of those of all 8,192 rows.
    of_guides = {
        "CLIP": products(x, y, 1, 0, 0),
        "NTXent": products(rows(0, 8192, 128), y, 1, 0, 0),
    }
    for name, loss in (("CLIP", nf.CLIP), ("NTXent", nf.NTXent)):
        # Of pairs that agree hardly anybody else is as near; of those that do not four of five are.
        for pairs, columns, others in (
            ("agree", x + 0.7 * y, g + 0.7 * h),
            ("do not agree", y, h),
        ):
            plain, which = step(loss(), x, columns), f"of pairs that {pairs}"
            found[f"{name}, exclude by self, {which} / without, 4096"] = Ratio(
                step(loss(exclude=by_self), x, columns), plain, at_most=1.3
            )
            found[f"{name}, exclude by a guide {which}, less its product / without, 4096"] = Ratio(
                step(loss(exclude=guide), x, columns, guide=(g, others)),
                plain,
                at_most=1.3,
                besides=of_guides[name],
            )
    return found


def ranking() -> dict[str, Ratio]:
    from sentence_transformers import losses  # type: ignore[import-not-found]

    theirs = losses.MultipleNegativesRankingLoss(torch.nn.Identity())
    ours = nf.InfoNCE(temperature=0.05, in_batch="always", own="all")

    def ranked(query: Any, positive: Any, own: Any) -> Any:
        every = [query, positive, *own.unbind(1)]
        return theirs.compute_loss_from_embeddings(every, None)

    given = rows(0, 1024, 256), rows(1, 1024, 256), rows(2, 1024, 1, 256)
    peer = step(ranked, *given)
    query, positive, own = given
    documents = torch.cat([positive, own[:, 0]])
    name = "sentence-transformers' ranking with a hard negative / {}, 1024 x 256"
    # What no exact gradient goes below: nothing but its operations, and nothing but products.
    alone = partial(bare.ranking, query, positive, own[:, 0])
    agrees = partial(bare.check, query, positive, own[:, 0])
    return {
        name.format("InfoNCE"): Ratio(step(ours, *given), peer, at_least=2),
        name.format("bare operations"): Ratio(alone, peer, check=agrees),
        name.format("its 3 products"): Ratio(products(query, documents, 1, 1, 1), peer),
    }


def against(
    ours: nf.Loss,
    theirs: Callable[..., Any],
    *given: torch.Tensor,
    at_least: float | None,
    turns: int | None = None,
) -> Ratio:
    """A peer's time over that of the loss that it equals."""

    def check() -> None:
        torch.testing.assert_close(ours(*given), theirs(*given), rtol=1e-4, atol=0)

    calls = step(ours, *given), step(theirs, *given)
    return Ratio(*calls, at_least=at_least, turns=turns, check=check)


def of_pairs() -> dict[str, Ratio]:
    from pytorch_metric_learning import losses

    theirs = {
        "MultiSimilarity": (losses.MultiSimilarityLoss, nf.MultiSimilarity(), 4096, 5),
        "Circle": (losses.CircleLoss, nf.Circle(), 4096, 5),
        "GeneralizedLiftedStructure": (
            losses.GeneralizedLiftedStructureLoss,
            nf.Lifted(without_positives="count"),
            1024,
            None,
        ),
    }
    found = {}
    for name, (peer, ours, n, least) in theirs.items():
        given = unit_rows(0, n, 128), labels(n, n // 8)
        name = f"pytorch-metric-learning's {name} / {type(ours).__name__}, {n}"
        found[name] = against(ours, peer(), *given, at_least=least)
    # It lists positive pairs beside negative pairs. Where all of the 1,024 rows have a partner one
    # of its arrays takes 4.3 GB, and a call seven of them.
    given, ours = (unit_rows(0, 1024, 128), few_pairs(1024, 64)), nf.Lifted(form="pairs")
    name = "pytorch-metric-learning's LiftedStructure / Lifted of pairs, 1024 with 64 pairs"
    found[name] = against(ours, losses.LiftedStructureLoss(), *given, at_least=20, turns=2)
    return found


def with_proxies() -> dict[str, Ratio]:
    x, proxies = rows(0, 1024, 128), rows(1, 100_000, 128)
    return {
        "ProxyAnchor, 1024 x 100000 / 3 products": Ratio(
            step(nf.ProxyAnchor(), x, labels(1024, 100_000), proxies),
            products(x, proxies, 1, 1, 1),
            at_most=1.5,
        )
    }


def of_prefixes() -> dict[str, Ratio]:
    x, y, dims = rows(0, 4096, 128), labels(4096, 512), (16, 32, 64, 128)
    found = {}
    for loss, given in ((nf.SupCon(), (x, y)), (nf.NTXent(), x.split(2048))):
        calls = step(nf.Matryoshka(loss, dims=dims), *given), step(loss, *given)
        name = f"Matryoshka of {dims} features / 128 alone, {type(loss).__name__}, 4096"
        found[name] = Ratio(*calls, at_most=1.6)
    sizes = (x, dims), (rows(0, 2048, 768), (96, 192, 384, 768))
    for (given, some), cosine in product(sizes, (True, False)):
        z = given if cosine else 0.1 * given
        alone = partial(prefixes.one_prefix, z, cosine)
        for method in (prefixes.by_itself, prefixes.products_once):
            name = f"bare, {method.__name__.replace('_', ' ')}, {some} features / "
            name += f"{some[-1]} alone, {'cosines' if cosine else 'dot products'}, {len(z)}"
            call = partial(method, z, some, cosine)
            found[name] = Ratio(alone, call, check=partial(prefixes.check, some, cosine))
    return found


def of_near_rows() -> dict[str, Ratio]:
    """Clusters of 4 rows, 1e-4 apart: side by side, where few tiles hold them, and all over."""
    spread, n = rows(0, 4096, 128), 4096
    steps = 1e-4 * torch.nn.functional.normalize(rows(1, n, 128))
    near = spread[: n // 4].repeat_interleave(4, 0) + steps
    places = torch.randperm(n, generator=torch.Generator().manual_seed(2))
    found = {}
    for where, order in (("beside each other", torch.arange(n)), ("all over", places)):
        labels = order // 4
        calls = {
            nf.SupCon(similarity="neg_euclidean"): lambda z, y=labels: (z, y),
            nf.CLIP(similarity="neg_euclidean"): lambda z: (z[::2], z[1::2]),
            nf.SupCR(similarity="neg_euclidean"): lambda z, y=labels: (z, y.float()),
        }
        for loss, given in calls.items():
            name = f"{type(loss).__name__}, neg_euclidean, near rows {where} / spread rows, {n}"
            both = (step(loss, *given(z[order])) for z in (near, spread))
            found[name] = Ratio(*both, at_most=2)
    return found


def of_far_classes() -> dict[str, Ratio]:
    """64 classes of an encoder that has learned: cosines of 0.95 within, around 0 beyond."""
    n, given = 4096, torch.arange(4096) % 64
    x, y = (unit_rows(0, 64, 128)[given] + 0.02 * rows(k, n, 128) for k in (1, 2))
    calls = {
        "SupCon": (nf.SupCon, (x, given)),
        "InfoNCE": (nf.InfoNCE, (x, y)),
        "InfoNCE with a queue": (nf.InfoNCE, (x[:1024], y[:1024], y[1024:])),
        "CLIP": (nf.CLIP, (x, y)),
    }
    return {
        f"{name}, classes far apart at a temperature of 0.01 / 0.002, {n}": Ratio(
            *(step(loss(temperature=t), *inputs) for t in (0.01, 0.002)), at_most=1.5
        )
        for name, (loss, inputs) in calls.items()
    }


SECTIONS = (
    against_reference, left_out, ranking, of_pairs, with_proxies, of_prefixes, of_near_rows,
    of_far_classes,
)  # fmt: skip


def timed(call: Call) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    call()
    return clock() - start


def measured(ratio: Ratio, rounds: int) -> tuple[float, float]:
    """The ratio of minima, and of medians."""
    if ratio.check:
        ratio.check()
    calls = [ratio.ours, ratio.other] + ([ratio.besides] if ratio.besides else [])
    count = min(rounds, ratio.turns or rounds)
    turns = [[timed(call) for call in calls] for _ in range(count + 1)][1:]
    found = []
    for of in (min, median):
        ours, other, *besides = (of(each) for each in zip(*turns, strict=True))
        ours -= sum(besides)
        found.append(ours / other if ratio.at_most else other / ours)
    return found[0], found[1]


def main(
    only: Annotated[list[str] | None, typer.Option(help="What the names hold; all.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of every call.")] = 9,
    threads: Annotated[int, typer.Option(help="Threads of PyTorch.")] = 2,
) -> None:
    """Print every ratio beside what is asked of it."""
    torch.set_num_threads(threads)
    missed = False
    for section in SECTIONS:
        try:
            ratios = section()
        except ImportError as error:
            print(f"{section.__name__}: {error}")
            continue
        for name, ratio in ratios.items():
            if only and not any(part in name for part in only):
                continue
            minima, medians = measured(ratio, rounds)
            told = f"{minima:.2f} of minima, {medians:.2f} of medians"
            if ratio.at_least:
                asked, met = f"at least {ratio.at_least:g}", minima >= ratio.at_least
            elif ratio.at_most:
                asked, met = f"at most {ratio.at_most:g}", minima <= ratio.at_most
            else:
                print(f"{name}: {told}", flush=True)
                continue
            missed |= not met
            print(f"{name}: {told}; asked {asked}: {'met' if met else 'missed'}", flush=True)
    print(f"load of the machine, {os.cpu_count()} cores: {os.getloadavg()[0]:.1f}")
    raise typer.Exit(missed)


if __name__ == "__main__":
    sys.exit(typer.run(main))
