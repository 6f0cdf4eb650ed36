"""Rows with class numbers against proxies."""

from collections.abc import Mapping
from typing import Any, ClassVar

from nearfar.evaluate import ProxyEvaluation
from nearfar.frameworks import Array, Evaluation
from nearfar.losses.base import Loss
from nearfar.rules import AnchoredProxies, ProxyRule


class AgainstProxies(Loss, family=True):
    """Rows (n, d) with labels (n,), the numbers of their proxies; and proxies (C, d) to learn.

    Rules: `ProxyRule`, `AnchoredProxies`.
    """

    rules = (ProxyRule, AnchoredProxies)
    inputs: ClassVar[tuple[str, ...]] = ("embeddings", "labels", "proxies")
    embeddings: ClassVar[tuple[str, ...]] = ("embeddings", "proxies")
    several_centres: ClassVar[bool] = False
    """Whether proxies are (C, K, d)."""

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        rows, proxies = (tuple(embeddings[name].shape) for name in self.embeddings)
        axes = 3 if self.several_centres else 2
        what = "(C, K, d), K centres of each class" if self.several_centres else "(C, d)"
        owner = type(self).__name__
        if len(rows) != 2:
            raise ValueError(
                f"{owner}: expected embeddings of shape (n, d), one row for each of labels; "
                f"received {rows}; reshape them"
            )
        if len(proxies) != axes or proxies[-1] != rows[-1]:
            raise ValueError(
                f"{owner}: expected proxies of shape {what}, with as many features as embeddings "
                f"{rows}; received {proxies}"
            )

    def _evaluation(
        self,
        arrays: tuple[Array, ...],
        parameters: tuple[float | None, ...],
        names: tuple[str, ...],
    ) -> Evaluation:
        settings: dict[str, Any] = dict(self._settings)
        return ProxyEvaluation(parts=2, parameters=parameters, names=names, **settings)
