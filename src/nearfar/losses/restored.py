"""Losses again from what was written of them: a dictionary, or a compiled program's text."""

import json
from typing import Any

from nearfar.evaluate import Options
from nearfar.frameworks import Array, Evaluation, Statement, register_rebuild
from nearfar.losses import arguments, registry
from nearfar.losses.base import Loss


def loss_from_dict(d: dict[str, Any]) -> Loss:
    """The loss that `Loss.to_dict` described.

    >>> from nearfar import NTXent, loss_from_dict
    >>> loss_from_dict(NTXent(temperature=0.2).to_dict()) == NTXent(temperature=0.2)
    True
    """
    rest = dict(d)
    name = rest.pop("loss", None)
    key = registry.key_of(str(name))
    loss: type[Loss] | None = registry.LOSSES.get(key) or registry.COMPOSED.get(key)
    if loss is None:
        known = [cls.__name__ for cls in registry.LOSSES.values()]
        near = arguments.nearest(str(name), known)
        raise ValueError(
            f"expected d['loss'] to be one of {', '.join(sorted(known))}; received {name!r}"
            + (f"; did you mean {near}?" if near else "")
            + "; a loss of your own is known once the module that defines it is imported"
        )
    unknown = sorted(set(rest) - set(loss.declarations) - set(loss.also_written))
    if unknown:
        raise ValueError(
            f"expected fields of {loss.__name__} in d, received also {', '.join(unknown)}; "
            "was it written by another version of nearfar?"
        )
    return loss.of_dict(rest)


def _rebuild(statement: Statement, arrays: tuple[Array, ...]) -> Evaluation:
    names, _, text = statement.text.partition("\n")
    stated = json.loads(text)
    loss = registry.by_key(stated.pop("loss"))
    options = Options(*stated.pop("options"))
    found: Loss = loss.of_dict(stated, options=options)
    return found._evaluation(arrays, statement.parameters, tuple(names.split(" ")))


register_rebuild(_rebuild)
