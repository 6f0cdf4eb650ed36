"""What is timed: for each loss nearfar on NumPy and PyTorch, the dense formula and the peers.

A candidate is made from a number of rows and gives its gradients, as arrays of NumPy.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

import nearfar as nf
from benchmarks import dense, peers

FEATURES = 128
PER_CLASS = 8
Run = Callable[[], list[Any]]


class Candidate(NamedTuple):
    make: Callable[[int], Run]
    note: str = ""
    """Where it computes something else than the others, or at another size."""


class Workload(NamedTuple):
    rows: int
    """In all; two views or towers have half of them each, but see `per_tower`."""
    candidates: dict[str, Candidate]
    truth: str
    """Whose gradient in float64 the others are held against."""


def rows(n: int) -> torch.Tensor:
    """Unit rows: peers differ in whether they normalise."""
    generator = torch.Generator().manual_seed(0)
    return normalize(torch.randn(n, FEATURES, generator=generator))


def views(n: int) -> tuple[torch.Tensor, ...]:
    x = rows(n)
    return x[: n // 2].clone(), x[n // 2 :].clone()


def towers(n: int) -> tuple[torch.Tensor, ...]:
    return views(2 * n)


def classes(n: int) -> tuple[torch.Tensor, ...]:
    labels = torch.arange(n) // PER_CLASS
    return rows(n), labels[torch.randperm(n, generator=torch.Generator().manual_seed(1))]


def numbers(n: int) -> tuple[torch.Tensor, ...]:
    return rows(n), torch.randn(n, generator=torch.Generator().manual_seed(1))


Inputs = Callable[[int], tuple[torch.Tensor, ...]]


def by_torch(inputs: Inputs, make: Callable[[], Callable[..., Any]], dtype: Any = None) -> Any:
    def at(n: int) -> Run:
        loss = make()
        given = [x.to(dtype) if dtype and x.is_floating_point() else x for x in inputs(n)]

        def run() -> list[Any]:
            leaves = [x.detach().requires_grad_(x.ndim == 2) for x in given]
            loss(*leaves).backward()
            return [x.grad.numpy() for x in leaves if x.grad is not None]

        return run

    return at


def by_numpy(inputs: Inputs, loss: Any) -> Callable[[int], Run]:
    def at(n: int) -> Run:
        given = [x.numpy() for x in inputs(n)]
        return lambda: list(loss.value_and_grad(*given)[1])

    return at


def three_products(n: int) -> Run:
    x = rows(n)
    square, product = torch.empty(n, n), torch.empty(n, FEATURES)

    def run() -> list[Any]:
        torch.mm(x, x.T, out=square)
        torch.mm(square, x, out=product)
        torch.mm(square.T, x, out=product)
        return []

    return run


def workload(
    size: int, inputs: Inputs, loss: Any, plain: Callable[..., Any], **others: Candidate
) -> Workload:
    candidates = {
        "nearfar, torch": Candidate(by_torch(inputs, lambda: loss)),
        "nearfar, numpy": Candidate(by_numpy(inputs, loss)),
        "dense, torch": Candidate(by_torch(inputs, lambda: plain)),
        "dense, float64": Candidate(by_torch(inputs, lambda: plain, torch.float64)),
        "three products": Candidate(three_products, "the floor: three bare n x n products"),
    }
    named = {name.replace("_", " "): other for name, other in others.items()}
    return Workload(size, candidates | named, "dense, float64")


def _peer(inputs: Inputs, make: Callable[[], Any], note: str = "") -> Candidate:
    return Candidate(by_torch(inputs, make), note)


WORKLOADS = {
    "NTXent": workload(
        4096,
        views,
        nf.NTXent(temperature=0.1),
        lambda a, b: dense.ntxent(a, b, 0.1),
        lightly=_peer(views, lambda: peers.lightly_ntxent(0.1)),
    ),
    "SupCon": workload(
        4096,
        classes,
        nf.SupCon(temperature=0.1),
        lambda x, y: dense.supcon(x, y, 0.1),
        pytorch_metric_learning=_peer(classes, lambda: peers.pml_supcon(0.1)),
    ),
    "HCL": workload(
        4096,
        views,
        nf.HCL(temperature=0.5, tau_plus=0.1, beta=1.0),
        lambda a, b: dense.hcl(a, b, 0.5, 0.1, 1.0),
    ),
    "CLIP": workload(
        4096,
        towers,
        nf.CLIP(temperature=0.1),
        lambda x, y: dense.clip(x, y, 0.1),
        torch_chunked=_peer(towers, lambda: peers.torch_chunked(0.1), "unit rows given"),
        open_clip=_peer(towers, lambda: peers.open_clip(0.1), "unit rows given"),
    ),
    "SigLIP": workload(
        4096,
        towers,
        nf.SigLIP(temperature=0.1, bias=-10.0),
        lambda x, y: dense.siglip(x, y, 0.1, -10.0),
        open_clip=_peer(towers, lambda: peers.open_siglip(0.1, -10.0), "unit rows given"),
    ),
    "batch-hard": workload(
        4096,
        classes,
        nf.BatchTriplet(mining="hard", margin=0.2),
        lambda x, y: dense.batch_hard(x, y, 0.2),
        pytorch_metric_learning=_peer(classes, lambda: peers.pml_hard(0.2)),
    ),
    "batch-all": workload(
        1024,
        classes,
        nf.BatchTriplet(mining="all", margin=0.2),
        lambda x, y: dense.batch_all(x, y, 0.2),
        sentence_transformers=_peer(classes, lambda: peers.st_all(0.2)),
        pytorch_metric_learning=_peer(classes, lambda: peers.pml_all(0.2)),
    ),
    "SupCR": workload(
        1024, numbers, nf.SupCR(temperature=2.0), lambda x, y: dense.supcr(x, y, 2.0)
    ),
    "InfoNCE": Workload(
        4096,
        {
            "nearfar, torch": Candidate(by_torch(towers, lambda: nf.InfoNCE(temperature=0.1))),
            "nearfar, numpy": Candidate(by_numpy(towers, nf.InfoNCE(temperature=0.1))),
            "info-nce-pytorch": _peer(towers, lambda: peers.info_nce(0.1)),
            "three products": Candidate(three_products, "the floor"),
        },
        "info-nce-pytorch",
    ),
}
