"""Which framework an array belongs to, decided by its type."""

import sys
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from nearfar.frameworks.protocol.glue import Glue
from nearfar.frameworks.protocol.namespace import Namespace

# From modules, since a package is asked for its names at every call, which a small batch notices.


def _numpy() -> Glue:
    from nearfar.frameworks.numpy.glue import GLUE

    return GLUE


def _torch() -> Glue:
    from nearfar.frameworks.torch.glue import GLUE

    return GLUE


def _jax() -> Glue:
    from nearfar.frameworks.jax.glue import GLUE

    return GLUE


def _tensorflow() -> Glue:
    from nearfar.frameworks.tensorflow.glue import GLUE

    return GLUE


# In the order of the question: a module that was never imported has made no array. Nothing is
# remembered here, as a program compiled before would be compiled again after.
_FRAMEWORKS: dict[str, Callable[[], Glue]] = {
    "numpy": _numpy,
    "torch": _torch,
    "tensorflow": _tensorflow,
    "jax": _jax,
}


def framework_name(x: Any) -> str | None:
    """The framework that `x` is an array of, or None for anything else (lists, numbers)."""
    for name in _FRAMEWORKS:
        if name in sys.modules and _FRAMEWORKS[name]().ns.is_array(x):
            return name
    return None


def namespace_of(arrays: Iterable[tuple[str, Any]]) -> Namespace:
    """The one framework of named arrays; NumPy where none of them is an array.

    Raises
    ------
    TypeError
        If arrays of two frameworks meet.
    """
    found: dict[str, str] = {}
    for argument, x in arrays:
        name = framework_name(x)
        if name is not None:
            found.setdefault(name, argument)
    if len(found) > 1:
        listed = " and ".join(f"{argument} is a {name} array" for name, argument in found.items())
        raise TypeError(
            f"expected arrays of one framework, received several: {listed}; "
            "convert them to the framework that is to be differentiated"
        )
    return _FRAMEWORKS[[*found, "numpy"][0]]().ns


def signature(arrays: tuple[Any, ...]) -> Hashable | None:
    """What decides how arrays are computed with, but for their values; see
    `Namespace.signature`."""
    name = framework_name(arrays[0]) if arrays else None
    return None if name is None else _FRAMEWORKS[name]().ns.signature(arrays)


def glue_of(ns: Namespace) -> Glue:
    """What differentiates in the framework of these operations."""
    return _FRAMEWORKS[ns.name]()
