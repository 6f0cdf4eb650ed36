"""Training an encoder by a loss; an epoch is a function of the seed, so that it can be resumed."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nearfar import metrics
from nearfar.losses import AgainstProxies, LabelledRows, RankedRows
from nearfar.losses import Loss as Statement
from nearfar.samplers import ClassBalancedSampler
from nearfar.torch.module import Loss
from nearfar.torch.trainer.augmentation import FeatureChanges, ImageChanges
from nearfar.torch.trainer.encoders import Architecture, Encoder, head

Arrays = dict[str, NDArray[Any]]

_PER_CLASS = 8  # rows of an anchor's class that a batch should have
_WATCHED = 512  # training rows to be watched where no part is kept for validation
_CHUNK = 1024  # rows embedded at once
_CENTRES = 10  # of a class, for a loss of several: SoftTriple's own
_PROXIES = 10.0  # how many times the encoder's learning rate theirs is


@dataclass(frozen=True)
class Recipe:
    """How to train: all that decides the outcome beside rows, loss and architecture."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    patience: int  # epochs without a lower validation loss
    augmentation: float
    flip: bool
    learn_temperature: bool
    seed: int


@dataclass(frozen=True)
class Rows:
    """Rows ``(n, *shape)`` and their labels or targets ``(n,)``."""

    X: NDArray[Any]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.y)


class Epoch(NamedTuple):
    """What is told of an epoch; the measures are of embeddings in evaluation mode."""

    epoch: int
    loss: float
    validation: float | None
    temperature: float | None
    alignment: float | None
    uniformity: float


def of_two_views(loss: Statement) -> bool:
    """Whether a loss compares two views of every row, and no labels or targets."""
    return not isinstance(loss, LabelledRows | RankedRows | AgainstProxies)


class Training:
    """An encoder in training: AdamW, a cosine schedule, early stop at the best validation loss.

    A loss of two views sees a head's output for two augmented views of every row; any other sees
    the embeddings themselves, with their labels or targets. Proxies are learned beside the encoder,
    faster and without decay: only their directions count. What an epoch draws (batches,
    augmentations) follows from the seed and its number alone.
    """

    def __init__(
        self,
        architecture: Architecture,
        loss: Statement,
        recipe: Recipe,
        rows: Rows,
        validation: Rows | None,
        device: str = "cpu",
    ) -> None:
        self.recipe, self.device = recipe, _usable(device)
        self._rows, self._validation = rows, validation
        self._two_views = of_two_views(loss)
        self._balanced = isinstance(loss, LabelledRows)
        self._labelled = self._balanced or isinstance(loss, AgainstProxies)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.encoder: Encoder = architecture.build()
            extra = head(architecture.components) if self._two_views else nn.Identity()
            proxies = self._proxies(loss, architecture.components)
            criterion = Loss(loss, recipe.learn_temperature, proxies)
        self.encoder.standardise_by(rows.X)
        self._all = nn.ModuleDict(
            {"encoder": self.encoder, "head": extra, "criterion": criterion}
        ).to(self.device)
        strength = recipe.augmentation
        self._change = (
            ImageChanges(strength, recipe.flip)
            if self.encoder.of_images
            else FeatureChanges(strength)
        )
        held = [criterion.proxies] if proxies else []
        rest = [p for p in self._all.parameters() if not any(p is q for q in held)]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "times": 1.0},
            {"params": [p for p in rest if p.ndim <= 1], "times": 1.0, "weight_decay": 0.0},
            {"params": held, "times": _PROXIES, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
        )
        self.epoch, self.best_epoch, self._best_loss = 0, 0, math.inf
        self._best = copy.deepcopy(self._all.state_dict())

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or too many without a lower validation loss."""
        return (
            self.epoch >= self.recipe.epochs or self.epoch - self.best_epoch >= self.recipe.patience
        )

    def run(self, after_epoch: Callable[[Epoch], None]) -> None:
        """Go on from where it stands until it is finished.

        Raises
        ------
        FloatingPointError
            If the loss of an epoch, or an embedding after it, is NaN or infinite.
        """
        while not self.finished:
            loss = self._train()
            self.epoch += 1
            told = self._watch(loss)
            if told.validation is None or told.validation < self._best_loss:
                self.best_epoch = self.epoch
                self._best_loss = math.inf if told.validation is None else told.validation
                self._best = copy.deepcopy(self._all.state_dict())
            after_epoch(told)

    def take_best(self) -> Statement:
        """Put the weights of the best epoch in place; give the loss with what was learned of it."""
        self._all.load_state_dict(self._best)
        criterion = self._all["criterion"]
        values = {name: float(getattr(criterion, name).detach()) for name in criterion.learned}
        learned: Statement = replace(criterion.loss, **values)
        return learned

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Give all that `restore` needs to go on: arrays, and values for JSON."""
        arrays = _flat("now", self._all.state_dict()) | _flat("best", self._best)
        for i, moments in self._optimizer.state_dict()["state"].items():
            arrays |= _flat(f"adamw/{i}", moments)
        return arrays, {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_loss": self._best_loss if math.isfinite(self._best_loss) else None,
        }

    def restore(self, arrays: Arrays, record: dict[str, Any]) -> None:
        """Go back to where `state` was taken.

        Raises
        ------
        KeyError, RuntimeError
            If the state is of another architecture.
        """
        self._all.load_state_dict(_nested("now", arrays))
        self._best = {
            name: value.to(self.device) for name, value in _nested("best", arrays).items()
        }
        state = self._optimizer.state_dict()
        count = sum(len(group["params"]) for group in state["param_groups"])
        moments = {i: _nested(f"adamw/{i}", arrays) for i in range(count)}
        state["state"] = {i: found for i, found in moments.items() if found}
        self._optimizer.load_state_dict(state)
        self.epoch, self.best_epoch = record["epoch"], record["best_epoch"]
        self._best_loss = math.inf if record["best_loss"] is None else record["best_loss"]

    def _train(self) -> float:
        """One epoch; gives the mean loss of its batches."""
        self._all.train()
        generator = self._generator(self.epoch + 1)
        batches = list(self._batches(generator))
        total = torch.zeros((), device=self.device)
        for step, batch in enumerate(batches, start=1):
            share = (self.epoch + step / len(batches)) / self.recipe.epochs
            warm = min(1.0, self.epoch + step / len(batches))
            for group in self._optimizer.param_groups:
                rate = group["times"] * self.recipe.lr
                group["lr"] = rate * warm * (1 + math.cos(math.pi * share)) / 2
            self._optimizer.zero_grad()
            loss, _ = self._loss(self._rows.X[batch], self._rows.y[batch], generator)
            loss.backward()
            self._optimizer.step()
            total += loss.detach()
        return float(total) / len(batches)

    def _loss(
        self, X: NDArray[Any], y: NDArray[Any], generator: torch.Generator | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Value and embeddings, of two views one below the other; no generator: no changes."""
        encoder, criterion = self.encoder, self._all["criterion"]
        rows = encoder.standardised(torch.as_tensor(X, device=self.device))
        if self._two_views:
            rows = torch.cat([rows, rows])
        if generator is not None and self.recipe.augmentation:
            rows = self._change(rows, generator)
        embeddings = encoder.net(rows)
        if self._two_views:
            return criterion(*self._all["head"](embeddings).chunk(2)), embeddings
        return criterion(embeddings, torch.as_tensor(y, device=self.device)), embeddings

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _watch(self, loss: float) -> Epoch:
        self._all.eval()
        part = self._validation
        seen = part or Rows(self._rows.X[:_WATCHED], self._rows.y[:_WATCHED])
        # Two views are the same in every epoch: what changes is the encoder.
        generator = self._generator(0) if self._two_views else None
        value, embeddings = self._loss(seen.X, seen.y, generator)
        Z = embeddings.double().cpu().numpy()
        if not (math.isfinite(loss) and np.isfinite(Z).all()):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {self.epoch}, and embeddings up to "
                f"{np.abs(Z).max()}; lower the learning rate or raise the temperature"
            )
        alignment = None
        if self._two_views:
            alignment = metrics.alignment(*np.split(Z, 2))
        elif self._labelled and np.bincount(seen.y).max() > 1:
            alignment = metrics.alignment(Z, seen.y)
        return Epoch(
            self.epoch,
            loss,
            None if part is None else float(value),
            self._temperature(),
            alignment,
            metrics.uniformity(Z[: len(seen)]),
        )

    def _proxies(self, loss: Statement, components: int) -> tuple[int, ...] | None:
        """Their shape, where the loss has some: of every class that a row here has."""
        if not isinstance(loss, AgainstProxies):
            return None
        parts = [part for part in (self._rows, self._validation) if part]
        classes = 1 + max(int(part.y.max()) for part in parts)
        centres = (_CENTRES,) if loss.several_centres else ()
        return classes, *centres, components

    def _temperature(self) -> float | None:
        found = self._all["criterion"].temperature
        return float(found.detach()) if isinstance(found, torch.Tensor) else found

    def _generator(self, stream: int) -> torch.Generator:
        """Make what an epoch draws its numbers by; on the CPU, for the same on any device."""
        seed = np.random.SeedSequence([self.recipe.seed, stream]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed >> np.uint64(1)))

    def _batches(self, generator: torch.Generator) -> Iterator[NDArray[np.intp]]:
        sampler = self._sampler()
        if sampler is not None:
            sampler.load_state_dict({"epoch": self.epoch, "done": 0})
            yield from map(np.asarray, sampler)
            return
        order = torch.randperm(len(self._rows), generator=generator).numpy()
        size = min(self.recipe.batch_size, len(order))
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]

    def _sampler(self) -> ClassBalancedSampler | None:
        """Balance the classes where a batch drawn at random has few rows of an anchor's class."""
        if not self._balanced:
            return None
        counts = np.unique(self._rows.y, return_counts=True)[1]
        size = self.recipe.batch_size
        if size >= _PER_CLASS * len(counts):
            return None
        per_class = max(2, min(_PER_CLASS, int(np.median(counts)), size // 2))
        classes = min(size // per_class, int((counts >= per_class).sum()))
        return ClassBalancedSampler(self._rows.y.tolist(), classes, per_class, self.recipe.seed)


@torch.no_grad()  # type: ignore[untyped-decorator]
def embed(encoder: Encoder, X: NDArray[Any]) -> NDArray[np.float64]:
    """Embed rows (n, *shape) as (n, components), as an encoder in evaluation mode does."""
    encoder.eval()
    device = encoder.mean.device
    parts = [
        encoder(torch.as_tensor(X[i : i + _CHUNK], device=device)).double().cpu().numpy()
        for i in range(0, len(X), _CHUNK)
    ]
    return np.concatenate(parts)


def _usable(name: str) -> torch.device:
    """A device by its name, if it computes here."""
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch is built without it
        why = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(
            f"expected device to be one that PyTorch can use here; received {name!r} ({why}); "
            "choose 'cpu' or another"
        ) from error
    return torch.device(name)


def _flat(prefix: str, tensors: dict[str, torch.Tensor]) -> Arrays:
    return {
        f"{prefix}/{name}": value.detach().cpu().numpy().copy() for name, value in tensors.items()
    }


def _nested(prefix: str, arrays: Arrays) -> dict[str, torch.Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): torch.from_numpy(value.copy())
        for name, value in arrays.items()
        if name.startswith(start)
    }
