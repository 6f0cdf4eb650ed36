"""A step of training in sentence-transformers: its ranking loss and nearfar's, in turns.

    python -m benchmarks.sentences [--rows 1024] [--rounds 7] [--threads 2]

Two encoders: a table of embeddings, where the loss is most of a step, and a small transformer,
where it is little. Needs sentence-transformers. Quote ratios of one run on an idle machine only.
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from sentence_transformers.sentence_transformer import losses
from torch import nn

import nearfar as nf
from nearfar.sentence_transformers import Loss

WIDTH, WORDS, LENGTH = 384, 1000, 8
CHUNK = 64


class Table(nn.Module):
    """A row of its own for each text."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(2 * rows, WIDTH)

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"] = self.rows(features["input_ids"][:, 0])
        return features


class Transformer(nn.Module):
    """A layer, and the mean of the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 6, 2 * WIDTH, batch_first=True, dropout=0.0)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"] = self.layers(self.words(features["input_ids"])).mean(1)
        return features


def columns(rows: int, table: bool) -> list[dict[str, torch.Tensor]]:
    if table:
        ids = torch.arange(2 * rows).reshape(2, rows, 1)
    else:
        ids = torch.randint(WORDS, (2, rows, LENGTH))
    return [{"input_ids": x, "attention_mask": torch.ones_like(x)} for x in ids]


def step(loss: nn.Module, given: list[dict[str, torch.Tensor]]) -> tuple[float, float]:
    """Seconds and the value."""
    loss.zero_grad()
    start = time.perf_counter()
    value = loss([dict(features) for features in given], None)
    value.backward()
    return time.perf_counter() - start, value.item()


def main(
    rows: Annotated[int, typer.Option(help="Pairs in a batch.")] = 1024,
    rounds: Annotated[int, typer.Option(help="Turns of each loss.")] = 7,
    threads: Annotated[int, typer.Option()] = 2,
) -> None:
    """Time a step of each loss with each encoder."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    statement = nf.InfoNCE(temperature=0.05)
    for name, encoder in (("table", Table(rows)), ("transformer", Transformer())):
        model = nn.Sequential(encoder)  # as a SentenceTransformer is one
        given = columns(rows, name == "table")
        pairs: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
            "at once": (
                lambda model=model: Loss(model, statement),
                lambda model=model: losses.MultipleNegativesRankingLoss(model),
            ),
            f"in chunks of {CHUNK}": (
                lambda model=model: Loss(model, statement, CHUNK),
                lambda model=model: losses.CachedMultipleNegativesRankingLoss(
                    model, mini_batch_size=CHUNK
                ),
            ),
        }
        for how, makers in pairs.items():
            both = [make() for make in makers]
            (_, ours), (_, theirs) = (step(loss, given) for loss in both)
            turns = [[step(loss, given)[0] for loss in both] for _ in range(rounds)]
            mine, other = (statistics.median(each) for each in zip(*turns, strict=True))
            print(
                f"{name}, {rows} pairs {how}: nearfar {mine:.3f} s, sentence-transformers "
                f"{other:.3f} s, {other / mine:.2f} times as fast; values differ by "
                f"{abs(ours / theirs - 1):.1e}"
            )


if __name__ == "__main__":
    typer.run(main)
