"""Which framework an array belongs to, decided by its type."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from nearfar.frameworks.protocol.namespace import Namespace


def _numpy() -> Namespace:
    from nearfar.frameworks.numpy.namespace import NAMESPACE

    return NAMESPACE


def _torch() -> Namespace:
    from nearfar.frameworks.torch.namespace import NAMESPACE

    return NAMESPACE


def _jax() -> Namespace:
    from nearfar.frameworks.jax.namespace import NAMESPACE

    return NAMESPACE


def _tensorflow() -> Namespace:
    from nearfar.frameworks.tensorflow.namespace import NAMESPACE

    return NAMESPACE


# In the order of the question: a module that was never imported has made no array. Nothing is
# remembered here, as a program compiled before would be compiled again after.
_FRAMEWORKS: dict[str, Callable[[], Namespace]] = {
    "numpy": _numpy,
    "torch": _torch,
    "tensorflow": _tensorflow,
    "jax": _jax,
}


def framework_name(x: Any) -> str | None:
    """The framework that `x` is an array of, or None for anything else (lists, numbers)."""
    for name in _FRAMEWORKS:
        if name in sys.modules and _FRAMEWORKS[name]().is_array(x):
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
    return _FRAMEWORKS[next(iter(found), "numpy")]()
