"""What a target ought to give: the loss it was found to be, in float64."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, Floats
from nearfar.check.identity.identify import Identity
from nearfar.check.identity.space import Stack
from nearfar.check.target.probing import Parameter
from nearfar.losses import Loss


@dataclass(frozen=True)
class Reference:
    """The loss of nearfar where one is equal, else the general form; a value, and gradients."""

    identity: Identity

    @property
    def known(self) -> bool:
        return self.identity.match is not None and self.identity.sure

    def loss(self, parameter: Parameter | None, value: float) -> Loss | None:
        """The equal loss of nearfar at a temperature or margin."""
        loss = self.identity.exact
        if loss is None:
            return None
        if self.identity.vector:
            loss = replace(loss, reduction="sum")
        match = self.identity.match
        if parameter is None or self.identity.fixed or match is None or not match.field:
            return loss
        changed: dict[str, Any] = {match.field: value}
        return replace(loss, **changed)

    def value(self, batch: Batch, parameter: Parameter | None, value: float) -> float:
        """NaN where nothing is known."""
        loss = self.loss(parameter, value)
        if loss is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return float(batch.value_of(loss, self._swapped))
        if not self.known:
            return float("nan")
        assert self.identity.match is not None
        return float(self.identity.match.values(Stack([batch]), np.array([value]))[0, 0])

    def gradients(
        self, batch: Batch, parameter: Parameter | None, value: float
    ) -> tuple[Floats, ...] | None:
        """Of each part; None where no loss of nearfar is equal."""
        loss = self.loss(parameter, value)
        return None if loss is None else self.gradients_of(loss, batch)

    def gradients_of(self, loss: Loss, batch: Batch) -> tuple[Floats, ...]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = batch.gradients_of(loss, self._swapped)
        return found[::-1] if self._swapped else found

    @property
    def _swapped(self) -> bool:
        statement = self.identity.statement
        return statement is not None and statement.swapped
