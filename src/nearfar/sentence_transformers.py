"""A loss for the trainer of sentence-transformers, which need not be installed to import this."""

from collections.abc import Iterable, Mapping
from typing import Any

from nearfar.extras import explained
from nearfar.losses.citation import citation
from nearfar.losses.learned import statement

try:
    import torch

    from nearfar.torch.cached import deferred, matched
    from nearfar.torch.module import Loss as Module
except ModuleNotFoundError as error:
    raise explained(error, "nearfar.sentence_transformers", "torch") from None

__all__ = ["Loss"]


class Loss(torch.nn.Module):  # type: ignore[misc]
    """A nearfar loss of what a SentenceTransformer makes of the columns of a data set.

    Columns go to the loss in its order:

    - `nearfar.InfoNCE`: anchor, positive, and any number K of columns of negatives, which become
      (N, K, d), each query's own;
    - losses of two views or sides (`nearfar.CLIP`, `nearfar.NTXent`): two columns;
    - `nearfar.Triplet`: anchor, positive, negative;
    - losses of labels and targets (`nearfar.SupCon`, `nearfar.SupCR`): one column of text, and the
      column of labels, which other losses do not look at;
    - losses of scored pairs (`nearfar.CoSENT`): two columns of text, and the scores as labels.

    With `chunk` the model runs over so many texts at a time, without a graph first, and again for
    the gradient, so that memory for its graph is a chunk's however large the batch; see
    `nearfar.torch.cached_step`. The value is the same, but for dropout.

    Parameters
    ----------
    model
        A SentenceTransformer, or any module of features to a dictionary with "sentence_embedding".
    loss
        A nearfar loss; `nearfar.torch.Loss` of one to learn its temperature or to hold its proxies,
        which the trainer's optimizer then finds; `nearfar.torch.distributed.Loss` for the batch of
        all ranks.
    chunk
        Texts that the model sees at once; None: a column.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        For a loss of proxies that nobody holds; at the call as the loss, and for columns that are
        not what it takes.

    >>> import torch, nearfar as nf, nearfar.sentence_transformers
    >>> model = torch.nn.Module()
    >>> model.forward = lambda features: {"sentence_embedding": features["input"]}
    >>> criterion = nearfar.sentence_transformers.Loss(model, nf.InfoNCE(temperature=0.05))
    >>> anchor, positive = {"input": torch.eye(3)}, {"input": torch.eye(3)}
    >>> criterion([anchor, positive], None).shape
    torch.Size([])
    """

    def __init__(self, model: torch.nn.Module, loss: Any, chunk: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.loss = loss if isinstance(loss, Module) else Module(statement(loss))
        self.chunk = chunk
        stated = self.loss.loss
        if "proxies" in stated.embeddings and not self.loss.holds_proxies:
            raise ValueError(
                f"expected a module that holds the proxies of {type(stated).__name__}; received "
                "the loss; give nearfar.torch.Loss(loss, proxies=(classes, features))"
            )

    def forward(
        self, sentence_features: Iterable[Mapping[str, Any]], labels: Any = None
    ) -> torch.Tensor:
        """The value of a batch.

        Parameters
        ----------
        sentence_features
            The features of each column.
        labels
            The column of labels, (N,), or None.
        """
        columns = list(sentence_features)
        stated = self.loss.loss
        name, optional = type(stated).__name__, stated.optional
        wanted = [x for x in stated.embeddings if x not in (*optional, "proxies")]
        listed = "negatives" in stated.embeddings
        if len(columns) < len(wanted) or (len(columns) > len(wanted) and not listed):
            more = ", and any number of negatives" if listed else ""
            raise ValueError(
                f"expected {len(wanted)} columns for {name}, {', '.join(wanted)}{more}; received "
                f"{len(columns)}; take the others out of the data set, or put them in this order"
            )
        facts = [x for x in stated.inputs if x not in stated.embeddings and x not in optional]
        if facts and labels is None:
            raise ValueError(
                f"expected a column of {facts[0]} for {name}; received none; name it label in the "
                "data set, or take a loss of pairs such as nearfar.InfoNCE"
            )
        embeddings = self._embedded(columns)
        named = dict(zip(wanted, embeddings, strict=False)) | dict.fromkeys(facts, labels)
        if len(columns) > len(wanted):
            named["negatives"] = torch.stack(embeddings[len(wanted) :], dim=1)
        value: torch.Tensor = self.loss(**named)
        return value

    def _embedded(self, columns: list[Mapping[str, Any]]) -> list[torch.Tensor]:
        if self.chunk is None:
            return [_embedding(self.model, features) for features in columns]
        return deferred(_embedding, matched(self.model, columns), self.chunk)

    def get_config_dict(self) -> dict[str, Any]:
        """Every field of the loss, for the model card."""
        chunk = {} if self.chunk is None else {"chunk": self.chunk}
        learned = {"learned": list(self.loss.learned)} if self.loss.learned else {}
        return self.loss.loss.to_dict() | learned | chunk

    @property
    def citation(self) -> str:
        """BibTeX of the paper that the loss is from, for the model card."""
        return citation(self.loss.loss)


def _embedding(model: Any, features: Mapping[str, Any]) -> torch.Tensor:
    # Its modules write into the features.
    found: torch.Tensor = model(dict(features))["sentence_embedding"]
    return found
