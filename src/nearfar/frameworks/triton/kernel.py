"""What the evaluators are offered: whether these kernels fit a problem, and why not."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from nearfar.frameworks.protocol.kernels import Problem
from nearfar.frameworks.triton.kernels.layout import FIELDS
from nearfar.frameworks.triton.partition import Batch
from nearfar.frameworks.triton.problem import Asked, up
from nearfar.frameworks.triton.queries import SigmoidBatch
from nearfar.frameworks.triton.rule import Untraceable, written
from nearfar.frameworks.triton.tiled import TiledPartition, TiledSigmoid

# Gradients of more features do not fit into registers; and of so many into no program at all.
WIDE, WIDEST = 256, 8192

_SIMILARITIES = ("cosine", "dot", "neg_sqeuclidean")
_DTYPES = ("float32", "float16", "bfloat16")
_PAIRS = {None: 0, "softplus": 1, "log_sigmoid": 2}
_SELF: dict[bool | str, int] = {False: 0, True: 1, "positive": 2}


class TritonKernel:
    """Computes from the embeddings to the value and back, the rule included."""

    name = "triton"
    whole = True

    def fits(self, problem: Problem) -> tuple[bool, str]:
        # Numbers of rows decide nothing, and are symbols where a program is compiled.
        reason = _why_not(problem._replace(rows=(), features=int(problem.features)))
        return reason is None, reason or ""

    def partition(
        self,
        problem: Problem,
        embeddings: tuple[torch.Tensor, ...],
        labels: torch.Tensor | None,
        temperature: float | torch.Tensor,
        memory: int,
        vectors: torch.Tensor | None = None,
    ) -> Batch:
        """`vectors`: what a batch of the same call has found, for a gradient."""
        queries = problem.kind == "queries"
        sums: tuple[tuple[int, float], ...] = ((0, 1.0),)
        if not queries:
            sums = tuple((int(over == "positives"), times) for over, times in problem.sums)
        asked = Asked(
            str(problem.similarity), problem.pairing, sums, problem.linear or queries,
            _PAIRS[problem.pair], _SELF[problem.include_self], problem.first_only,
        )  # fmt: skip
        kind = TiledPartition if embeddings[0].shape[1] > WIDE else Batch
        batch = kind(asked, embeddings, labels, temperature, memory, None, vectors)
        batch.has = written(problem.finish)[1]
        return batch

    def state(self, problem: Problem, n: Any) -> tuple[Any, ...]:
        return FIELDS, up(n) * (1 if problem.pairing in ("views", "labels") else 2)

    def sigmoid(
        self,
        problem: Problem,
        embeddings: tuple[torch.Tensor, ...],
        temperature: float | torch.Tensor,
        memory: int,
    ) -> SigmoidBatch:
        asked = Asked(str(problem.similarity), "matched", ((0, 1.0),), False, 0, 0)
        kind = TiledSigmoid if embeddings[0].shape[1] > WIDE else SigmoidBatch
        return kind(asked, embeddings, None, temperature, memory)


@lru_cache
def _why_not(problem: Problem) -> str | None:
    checks: tuple[Callable[[Problem], str | None], ...] = (_embeddings, _rule)
    return next((reason for check in checks if (reason := check(problem))), None)


def _embeddings(problem: Problem) -> str | None:
    if problem.own is not None:
        return "the anchors are spread over processes"
    if problem.dtype not in _DTYPES:
        return f"embeddings are {problem.dtype}; expected one of {', '.join(_DTYPES)} for all"
    if problem.similarity not in _SIMILARITIES:
        name = problem.similarity or "without a name"
        return f"the similarity is {name}; expected one of {', '.join(_SIMILARITIES)}"
    most = WIDE if problem.similarity == "neg_sqeuclidean" or problem.pair else WIDEST
    if problem.features > most:
        return f"rows have {problem.features} features; expected at most {most} here"
    return None


def _rule(problem: Problem) -> str | None:
    if problem.kind == "queries":
        return _queries(problem)
    if problem.pairing not in ("views", "matched", "labels"):
        return "labels are multi-hot"
    if not 1 <= len(problem.sums) <= 2:
        return f"the rule takes {len(problem.sums)} sums; expected one or two"
    if problem.pair not in _PAIRS or (problem.pair and problem.pairing != "labels"):
        return "the rule has a function of each positive pair that is not known"
    return _writable(problem)


def _queries(problem: Problem) -> str | None:
    if problem.rule == "EachPair":
        return None if problem.pairing == "batch" else "negatives are not the batch's"
    if problem.rule != "OneWay":
        return f"the rule {problem.rule} is not known"
    if problem.pairing not in ("batch", "shared"):
        return "each query has negatives of its own"
    return _writable(problem)


def _writable(problem: Problem) -> str | None:
    if problem.finish is None:
        return "the rule counts anchors without positives"
    try:
        written(problem.finish)
    except Untraceable as why:
        return str(why)
    return None


KERNEL: Any = TritonKernel()
