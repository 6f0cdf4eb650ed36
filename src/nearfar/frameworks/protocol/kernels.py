"""The seam for fused kernels: what one is asked, as plain data, and what it must answer.

A kernel takes both passes of a partition loss, or the one pass of a loss of queries, from the
embeddings as the caller gave them: uncast, so that half precision may be multiplied as it is. What
is O(n) stays with the evaluators: the rule's `finish`, averages, weights, upstream gradients.
A namespace lists its kernels in `Namespace.kernels`; the first that fits is taken.
"""

from typing import Any, Literal, NamedTuple, Protocol

from nearfar.frameworks.protocol.types import Array, Block


class Problem(NamedTuple):
    """One call, without its arrays' values."""

    kind: Literal["partition", "queries"]
    framework: str
    device: str
    """The kind of device, "cpu" or "cuda"."""
    dtype: str
    """Of the embeddings, "float16"; where they differ the words are joined by commas."""
    rows: tuple[Any, ...]
    """Of each embedding, numbers where the host knows them."""
    features: Any
    similarity: str | None
    """As the losses spell it; None for a comparison that has no name there."""
    pairing: str
    """Partition: "views" (rows k of both are a pair), "matched" (two sides), "labels" (n,),
    "many_labels" (n, c). Queries: the negatives, "batch", "shared", "own" or "matched"."""
    rule: str
    """The rule's class, for kernels that know one by name."""
    labels: str | None = None
    """Their dtype."""
    sums: tuple[tuple[str, float], ...] = ()
    """(over, times) of each partition sum, over "negatives" or "positives"."""
    linear: bool = False
    """Whether the sum of the positives' logits is asked for."""
    pair: str | None = None
    """A function of u = logit of a positive - log of the first sum: "softplus", softplus(-u) added
    up, or "log_sigmoid", -softplus(-u) whose exponentials are added up; "other": another one."""
    include_self: bool | str = False
    first_only: bool = False
    """Whether the slopes of the second view's anchors are all 0."""
    learned: tuple[bool, ...] = ()
    """Whether temperature, and bias, are arrays."""
    own: Block | None = None
    """Rows of each input whose anchors this process computes; None: all."""
    finish: Any = None
    """What the rule makes of its sums, for kernels that do it themselves: hashable, and called with
    operations and what is known of anchors by the names log0, log1, linear, pair, count, negatives,
    temperature; gives losses and slopes by logs, linear, pair and temperature."""


class KernelSums(NamedTuple):
    """What pass 1 finds for the anchors of a side, or the own ones; every array is (anchors,) in
    the compute dtype, views side by side: rows 2k and 2k + 1 are the k-th pair."""

    logs: tuple[tuple[Array, Array], ...]
    """(peak, log) of each sum of exp(times * logit), whose logarithm is |times| * peak + log. The
    peak is the largest sign(times) * logit, or 0 where no exponential can overflow. An empty sum
    has peak -inf and log -inf."""
    linear: Array | None = None
    """Sum over the positives of logit - peak of the first sum (0 where that is -inf)."""
    pair: Array | tuple[Array, Array] | None = None
    """Aggregate of the function of pairs; (peak, log) for "log_sigmoid", (-inf, 0) for none."""
    pair_slope: Array | None = None
    """Derivative of that aggregate by the first sum's logarithm."""


class KernelSlopes(NamedTuple):
    """Derivatives of the value by the fields of `KernelSums`, of all anchors of a side (n,)."""

    logs: tuple[Array, ...]
    linear: Array | None = None
    pair: Array | None = None


class PartitionPasses(Protocol):
    def forward(self) -> tuple[KernelSums, ...]:
        """Pass 1, for each side: one, or two where `pairing` is "matched"."""

    def backward(
        self, sums: tuple[KernelSums, ...], slopes: tuple[KernelSlopes, ...]
    ) -> tuple[tuple[Array, ...], Array | None]:
        """Pass 2: gradients of the embeddings (rows, features), of the own rows where there are
        such, and of the temperature where it is an array: this process's part."""


class QueryPass(Protocol):
    def run(
        self, weights: Array | None
    ) -> tuple[Array, tuple[Array, ...], Array | None, Array | None]:
        """Losses of the queries (N,), 0 but for the own ones; and under these weights (N,) of the
        losses the gradients of the embeddings in their shapes, of temperature and bias, as parts
        that add up over processes. Without weights no gradients: (), None, None."""


class Kernel(Protocol):
    """Or a `WholeKernel`, which the evaluators ask in its own way."""

    name: str
    whole: bool
    """Whether it computes everything from embeddings to gradients: see `WholeKernel`."""

    def fits(self, problem: Problem) -> tuple[bool, str]:
        """Whether it can compute this, and why not."""

    def partition(
        self,
        problem: Problem,
        embeddings: tuple[Array, ...],
        labels: Array | None,
        temperature: Any,
    ) -> PartitionPasses: ...

    def queries(
        self, problem: Problem, embeddings: tuple[Array, ...], temperature: Any, bias: Any
    ) -> QueryPass: ...


class WholeKernel(Protocol):
    """Does the rule's `finish`, weights and upstream gradients too, since each operation on arrays
    is a launch: `whole` is True. What `partition` gives has the methods of `evaluate.whole`."""

    name: str
    whole: bool

    def fits(self, problem: Problem) -> tuple[bool, str]: ...

    def partition(
        self,
        problem: Problem,
        embeddings: tuple[Array, ...],
        labels: Array | None,
        temperature: Any,
        memory: int,
        state: Array | None,
    ) -> Any:
        """One call; `state` is what another object of the same call has found, for a gradient."""

    def state(self, problem: Problem, n: Any) -> tuple[Any, ...]:
        """The shape of that for n rows a side."""

    def sigmoid(
        self, problem: Problem, embeddings: tuple[Array, ...], temperature: Any, memory: int
    ) -> Any:
        """One call of a loss of each pair."""


def choose(kernels: tuple[Kernel, ...], problem: Problem | str) -> tuple[Kernel | None, str]:
    """The first kernel that fits, or None, and why; a problem may be the reason why none does."""
    if isinstance(problem, str):
        return None, problem
    reasons = []
    for kernel in kernels:
        fits, reason = kernel.fits(problem)
        if fits:
            return kernel, kernel.name
        reasons.append(f"{kernel.name}: {reason}")
    return None, "; ".join(reasons) or f"there are no fused kernels for {problem.framework}"
