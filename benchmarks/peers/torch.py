"""In PyTorch: each function gives a loss of tensors."""

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

Peer = Callable[..., torch.Tensor]


class _Anything(ModuleType):
    """Has whatever is imported from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """Some import it without need for a loss; beside a CPU build of PyTorch it often breaks."""
    names = ("torchvision", "torchvision.ops", "torchvision.transforms", "torchvision.models")
    for name in names:
        stub = _Anything(name)
        stub.__path__ = []
        stub.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = stub
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]


def lightly_ntxent(temperature: float) -> Peer:
    with _without_torchvision():
        losses = importlib.import_module("lightly.loss")
    return losses.NTXentLoss(temperature=temperature, memory_bank_size=0)


def pml_ntxent(temperature: float) -> Peer:
    losses = importlib.import_module("pytorch_metric_learning.losses")
    return losses.SelfSupervisedLoss(losses.NTXentLoss(temperature=temperature))


def pml_supcon(temperature: float) -> Peer:
    return importlib.import_module("pytorch_metric_learning.losses").SupConLoss(
        temperature=temperature
    )


def pml_hard(margin: float) -> Peer:
    root = "pytorch_metric_learning."
    losses, miners, reducers = (
        importlib.import_module(root + name) for name in ("losses", "miners", "reducers")
    )
    loss = losses.TripletMarginLoss(margin=margin, reducer=reducers.MeanReducer())
    miner = miners.BatchHardMiner()
    return lambda x, labels: loss(x, labels, miner(x, labels))


def pml_all(margin: float) -> Peer:
    return importlib.import_module("pytorch_metric_learning.losses").TripletMarginLoss(
        margin=margin
    )


def _sentence_transformers(name: str, **options: Any) -> Peer:
    losses = importlib.import_module("sentence_transformers.sentence_transformer.losses")
    return getattr(losses, name)(torch.nn.Identity(), **options).compute_loss_from_embeddings


def st_hard(margin: float) -> Peer:
    loss = _sentence_transformers("BatchHardTripletLoss", margin=margin)
    return lambda x, labels: loss([x], labels)


def st_all(margin: float) -> Peer:
    loss = _sentence_transformers("BatchAllTripletLoss", margin=margin)
    return lambda x, labels: loss([x], labels)


def st_symmetric(temperature: float) -> Peer:
    loss = _sentence_transformers(
        "MultipleNegativesRankingLoss",
        scale=1 / temperature,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    return lambda x, y: loss([x, y], None)


def _module(name: str, path: Path) -> ModuleType:
    """One file alone."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _open_clip() -> ModuleType:
    """The file of losses: the package wants torchvision."""
    found = importlib.util.find_spec("open_clip")
    if found is None or found.origin is None:
        raise ImportError("open_clip is not installed")
    return _module("open_clip_loss", Path(found.origin).with_name("loss.py"))


def open_clip(temperature: float) -> Peer:
    loss = _open_clip().ClipLoss()
    return lambda x, y: loss(x, y, 1 / temperature)


def open_siglip(temperature: float, bias: float) -> Peer:
    loss = _open_clip().SigLipLoss()
    return lambda x, y: loss(x, y, 1 / temperature, bias)


def torch_chunked(temperature: float) -> Peer:
    """PyTorch's chunked linear cross-entropy, once in each direction."""
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        one_way = torch.nn.functional.linear_cross_entropy
        target = torch.arange(len(x))
        there = one_way(x / temperature, y, target, options=options)
        return (there + one_way(y / temperature, x, target, options=options)) / 2

    return loss


def info_nce(temperature: float) -> Peer:
    return importlib.import_module("info_nce").InfoNCE(temperature=temperature)


def official_supcr(temperature: float) -> Peer:
    """Its authors' code, which is no package: `RANK_N_CONTRAST` is where it was cloned to."""
    folder = os.environ.get("RANK_N_CONTRAST")
    if folder is None:
        raise ImportError("RANK_N_CONTRAST does not name a clone of kaiwenzha/Rank-N-Contrast")
    loss = _module("rank_n_contrast", Path(folder) / "loss.py").RnCLoss(temperature)

    def of_views(x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        views = x.view(2, len(x) // 2, -1)
        return loss(views.transpose(0, 1), targets[: len(x) // 2, None])

    return of_views


def published_supcr(temperature: float) -> Peer:
    """No package has it. The way its authors show: all differences of rows at once, then a loop
    over positives, each with an n x n mask of floats.
    """

    def loss(x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        n = len(x)
        others = ~torch.eye(n, dtype=torch.bool)

        def without_self(square: torch.Tensor) -> torch.Tensor:
            return square.masked_select(others).view(n, n - 1)

        logits = (x[:, None] - x[None]).norm(dim=-1) / -temperature
        logits = logits - logits.amax(1, keepdim=True).detach()
        exponentials, logits = without_self(logits.exp()), without_self(logits)
        apart = without_self((targets[:, None] - targets[None]).abs())
        total = x.new_zeros(())
        for positive in range(n - 1):
            farther = (apart >= apart[:, positive, None]).float()
            log_mass = (farther * exponentials).sum(1).log()
            total = total + (log_mass - logits[:, positive]).sum()
        return total / (n * (n - 1))

    return loss
