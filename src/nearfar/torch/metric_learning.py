"""A loss in the call form of pytorch-metric-learning."""

from typing import Any

import torch

from nearfar.frameworks.torch import NAMESPACE
from nearfar.losses import GivenTriplets, LabelledRows, RankedRows, inputs
from nearfar.losses import Loss as Statement
from nearfar.losses.composed import Composed
from nearfar.losses.learned import statement
from nearfar.torch import listed
from nearfar.torch.listed import Pairs, Triplets


class PMLLoss(torch.nn.Module):  # type: ignore[misc]
    """A loss of labelled rows for what calls the losses of pytorch-metric-learning.

    Its miners, ``CrossBatchMemory``, ``SelfSupervisedLoss`` and trainers take it as one of their
    own. Averages and anchors without positives are what the loss states; `nearfar.preset` has those
    that equal the package's.

    Without ``indices_tuple`` labels say who is positive, and memory stays bounded. A list of pairs
    (4 tensors) or triplets (3) says it in their place, exactly; the logits of all rows with all
    candidates are made then. It serves `nearfar.Triplet` (which needs one), `nearfar.BatchTriplet`
    with mining="all", `nearfar.PairMargin` and losses of a partition rule such as `nearfar.SupCon`
    and `nearfar.MultiSimilarity`. Means are over what is listed, and in a partition rule a pair
    counts once.

    Parameters
    ----------
    loss
        A loss of (embeddings, labels), of (embeddings, targets), or `nearfar.Triplet`; a sum of
        those, or `nearfar.Matryoshka` of one.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        For a loss of other inputs; at the call as the loss, and for a list that the loss cannot
        take, with what can.

    >>> import torch, nearfar as nf, nearfar.torch
    >>> criterion = nearfar.torch.PMLLoss(nf.BatchTriplet(margin=0.2))
    >>> z, labels = torch.eye(3), torch.tensor([0, 0, 1])
    >>> triplets = torch.tensor([0]), torch.tensor([1]), torch.tensor([2])
    >>> criterion(z, labels, triplets)
    tensor(0.2000)
    """

    def __new__(cls, *args: Any, **named: Any) -> "PMLLoss":
        made: PMLLoss = super().__new__(_Accepted if cls is PMLLoss else cls)
        return made

    def __init__(self, loss: Statement) -> None:
        super().__init__()
        self.loss = statement(loss)
        self._first = loss.first if isinstance(loss, Composed) else loss
        if not isinstance(self._first, LabelledRows | RankedRows | GivenTriplets):
            raise ValueError(
                "expected a loss of embeddings and labels, or nearfar.Triplet for a miner's; "
                f"received {loss}; two views are two rows of a label for nearfar.SupCon"
            )

    @torch.jit.unused  # type: ignore[untyped-decorator]
    def forward(
        self,
        embeddings: torch.Tensor,
        labels: Any = None,
        indices_tuple: Any = None,
        ref_emb: torch.Tensor | None = None,
        ref_labels: Any = None,
    ) -> torch.Tensor:
        """The value.

        Parameters
        ----------
        embeddings
            Rows (n, d).
        labels
            Of the rows, (n,); may be left out with `indices_tuple`.
        indices_tuple
            What a miner returns: numbers of rows and of candidates, (anchors, positives, anchors,
            negatives) or (anchors, positives, negatives).
        ref_emb, ref_labels
            The candidates (m, d) and their labels, in place of the rows.
        """
        if indices_tuple is not None:
            candidates = embeddings if ref_emb is None else ref_emb
            return listed.value(self.loss, *self._listed(embeddings, candidates, indices_tuple))
        if isinstance(self._first, GivenTriplets):
            raise ValueError(
                f"expected indices_tuple with {type(self.loss).__name__}, the triplets of a miner; "
                "received none; use nearfar.BatchTriplet to take them from the labels"
            )
        if labels is None:
            raise ValueError("expected labels, or indices_tuple in their place; received neither")
        labels = torch.as_tensor(labels, device=embeddings.device)
        reference = {}
        if ref_emb is not None:
            beside = "reference_" + self.loss.inputs[1]
            reference = {"reference": ref_emb, beside: ref_labels}
        value: torch.Tensor = self.loss(embeddings, labels, **reference)
        return value

    def _listed(
        self, embeddings: torch.Tensor, candidates: torch.Tensor, indices: Any
    ) -> tuple[torch.Tensor, torch.Tensor, Pairs | Triplets]:
        for name, x in (("embeddings", embeddings), ("ref_emb", candidates)):
            inputs.embeddings(NAMESPACE, name, x, self.loss.options.check_finite)
        kind = {3: Triplets, 4: Pairs}.get(len(indices))
        if kind is None:
            raise ValueError(
                "expected indices_tuple of 3 tensors, triplets, or of 4, pairs; received "
                f"{len(indices)}; pass what a miner returns"
            )
        reason = listed.refusal(self.loss)
        if reason is not None:
            raise ValueError(
                f"expected no indices_tuple with {type(self.loss).__name__}, which {reason}; "
                "or leave the miner out"
            )
        places = (torch.as_tensor(x, device=embeddings.device).long() for x in indices)
        return embeddings, candidates, kind(*places)

    def extra_repr(self) -> str:
        return f"{self.loss}"

    def _get_name(self) -> str:
        return "PMLLoss"


class _Accepted(PMLLoss):
    """The same under a name that the package's wrappers let in: they have a list of names."""


_Accepted.__name__ = "ContrastiveLoss"
