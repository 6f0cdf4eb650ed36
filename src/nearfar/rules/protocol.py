"""What a loss must say for an evaluator to compute it, and nothing about how."""

from math import inf
from typing import Any, ClassVar, Literal, NamedTuple

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import Diagonal

Over = Literal["negatives", "positives"]


class Sum(NamedTuple):
    """log of the sum of exp(times * logit) over the negatives or the positives of an anchor."""

    over: Over
    times: float = 1.0


class Pair:
    """An elementwise function of u = (logit of a positive) - (logarithm of the first sum)."""

    name: ClassVar[str] = "other"
    """What a fused kernel may know it by: see `Problem.pair`."""

    @property
    def log(self) -> bool:
        """Aggregate as a sum (False) or as log of a sum of exponentials (True)."""
        raise NotImplementedError

    def value(self, ns: Namespace, u: Array) -> Array:
        """phi(u); may consume u."""
        raise NotImplementedError

    def slope(self, ns: Namespace, u: Array) -> Array:
        """phi'(u); may consume u."""
        raise NotImplementedError


class Anchors(NamedTuple):
    """What is known of each anchor once every tile has been seen; every array is (n,)."""

    logs: tuple[Array, ...]
    """One per declared sum. An empty sum gives -inf over negatives, over positives too for a rule
    that counts anchors without them, else 0."""
    linear: Array
    """Sum of the positives' logits, where the rule wants it."""
    pair: Array
    """Aggregate of phi over the positives, where the rule has one."""
    count: Any
    """Number of positives, at least 1 so that it divides; one number where all anchors have as
    many, which is so under pairings by place only."""
    negatives: Any
    """Number of negatives, likewise."""
    temperature: Any
    shift: Any = 0.0
    """What every logit of `logs` and `linear` is less by, where the rule `takes_shift`: near the
    largest logit of the anchor where logits are large, else the number 0."""


class Slopes(NamedTuple):
    """Derivatives of the anchors' losses by the fields of `Anchors`."""

    logs: tuple[Array, ...]
    linear: Array | None = None
    pair: Array | None = None
    temperature: Array | None = None
    """What does not come through the logits."""


class PartitionRule:
    """A loss that sees its similarities through partition sums and its positive pairs.

    It never sees a tile, a mask, a shift, a reduction or an upstream gradient. Anchors that lack
    what it needs get weight 0 afterwards, whatever it says of them.
    """

    @property
    def sums(self) -> tuple[Sum, ...]:
        """The partition sums it needs."""
        raise NotImplementedError

    @property
    def linear(self) -> bool:
        """Whether it wants the sum of its positives' logits."""
        return False

    @property
    def pair(self) -> Pair | None:
        """Its function of each positive pair, if it has one."""
        return None

    @property
    def needs_positives(self) -> bool:
        """Whether an anchor without positives has no loss; else it counts in the mean."""
        return True

    @property
    def needs_negatives(self) -> bool:
        """Whether an anchor without negatives has no loss (an empty denominator)."""
        return False

    @property
    def counts_negatives(self) -> bool:
        """Whether it reads `Anchors.negatives`, which may cost a look at every pair."""
        return False

    def empty(self, over: Over) -> float:
        """The logarithm of an empty sum, which divides nothing where the anchor has no loss."""
        return 0.0 if over == "positives" and self.needs_positives else -inf

    @property
    def takes_shift(self) -> bool:
        """Whether `finish` takes logits less `Anchors.shift`. A loss that depends on differences of
        logits only does, and keeps its digits where the logits themselves have none to spare."""
        return False

    def finish(self, ns: Namespace, anchors: Anchors) -> tuple[Array, Slopes]:
        """Losses (n,) and their slopes."""
        raise NotImplementedError


class QueryRule:
    """A loss of queries that needs all logits of a query at once."""

    @property
    def by_sums(self) -> PartitionRule | None:
        """The same loss by sums of exponentials, if it is one of these."""
        return None

    @property
    def norms(self) -> float:
        """Times half the squared norms of a query and of its positive are added to its loss, where
        logits are inner products at temperature 1."""
        return 0.0

    def rows(
        self, ns: Namespace, logits: Array, positive: Array, weight: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        """Losses (b,) of a block of queries and, given their weights (b,), weighted derivatives.

        `logits` (b, m) are those of the negatives, -inf where a column is none; they may be
        consumed. `positive` (b,) is the logit of each query's positive. The derivatives are by
        `logits` and by `positive`.
        """
        raise NotImplementedError


class PairRule(QueryRule):
    """A loss of queries to which every pair adds a term of its own."""

    def pairs(
        self,
        ns: Namespace,
        logits: Array,
        positives: Array,
        left_out: Array | None,
        weight: Array | None,
    ) -> tuple[Array, Array | None]:
        """Losses (b,) of a block of queries and, given their weights (b,), weighted derivatives by
        the logits (b, m), which may be consumed; both masks are (b, m)."""
        raise NotImplementedError


class Met(NamedTuple):
    """What a rule that `meets` is told of both ends of its pairs."""

    numbers: tuple[Array, Array]
    """What `first` gave for the anchors (b,), and for all rows (n,)."""
    weights: Array | None
    """Of all rows as anchors, (n,), where derivatives are wanted."""


class Others(NamedTuple):
    """Who the candidates are to a block of b anchors: the other rows of the batch, or more, or
    others."""

    diagonal: Diagonal
    """The numbers of the anchors and of the candidates: where they are equal an anchor meets
    itself."""
    same: Array | None
    """True where a row of the window shares a label with the anchor, itself included, (b, w)."""
    window: Block
    """The w columns outside which no row does."""
    targets: tuple[Array, Array] | None
    """Of the anchors and of the candidates."""
    scratch: Scratch | None
    most: int | None
    """No anchor of the batch has more positives, where the host knows."""
    met: Met | None = None
    itself: int = 1
    """How many of the candidates are the anchor itself, 1 or 0; it never counts."""

    @property
    def numbers(self) -> Diagonal:
        """Of the anchors and of the columns of the window."""
        anchors, candidates = self.diagonal
        return anchors, Block(candidates.start + self.window.start, self.window.size)


class Picked(NamedTuple):
    """Derivatives by a few logits of each anchor; by all others they are 0."""

    columns: Array  # (b, picks)
    slopes: Array  # (b, picks)


class WithinRule:
    """A loss of rows among their like that needs all logits of an anchor at once."""

    steps: ClassVar[bool] = False
    """Whether it takes a step for each positive, so that to wait for their number saves more."""

    @property
    def picks(self) -> int:
        """How many logits of an anchor its loss depends on, if they are few; 0: on all."""
        return 0

    @property
    def meets(self) -> bool:
        """Whether an anchor's loss depends on what `first` says of its candidates: that is found
        for all rows before, and `Others.met` has it."""
        return False

    def first(self, ns: Namespace, logits: Array, others: Others) -> Array:
        """A number (b,) of each anchor of a block, of its own logits."""
        raise NotImplementedError

    def picked(
        self, ns: Namespace, positive: Array, negative: Array, some: Array, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        """Of a rule that picks: losses, numbers of terms and weighted derivatives (b, picks) from
        the logits of the farthest positive and of the nearest negative, (b,) each; `some`: which
        anchors have both."""
        raise NotImplementedError

    def buffers(self, most: int | None) -> int:
        """How many arrays of a block of logits it holds at once, the logits included, where no
        anchor has more positives than `most`, which is None where that is not known."""
        raise NotImplementedError

    def usable(self, positives: Array, negatives: Array) -> Array:
        """Which anchors have any term, from the numbers of their positives and negatives (n,)."""
        raise NotImplementedError

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | Picked | None]:
        """Losses (b,) of a block of anchors, each with its number of terms; and, given the
        anchors' weights (b,), weighted derivatives of the losses by the logits. Where the rule
        `meets`, an anchor's are those of all losses by way of its own number.

        `logits` (b, m) are those of all candidates; a rule that picks may consume them, for all
        others they must stay as they are.
        """
        raise NotImplementedError
