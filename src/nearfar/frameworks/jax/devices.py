"""JAX's types of arrays over several devices: which axes they vary over, how they are cut."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from nearfar.frameworks.protocol.types import Array


def axes_of(*arrays: Array) -> frozenset[str]:
    """Axes of a `shard_map` over which one of the arrays differs from device to device."""
    if not hasattr(jax, "typeof"):  # before JAX 0.6 types do not tell
        return frozenset()
    kinds = [jax.typeof(x) for x in arrays]
    # JAX 0.10 has given them another name.
    kinds = [getattr(kind, "manual_axis_type", kind) for kind in kinds]
    axes: list[Any] = [getattr(kind, "varying", getattr(kind, "vma", ())) for kind in kinds]
    return frozenset().union(*axes)


def varying(tree: Any, axes: frozenset[str]) -> Any:
    """The arrays of `tree` as ones that may differ over these axes."""
    if not axes:
        return tree

    def vary(x: Array) -> Array:
        further = tuple(sorted(axes - axes_of(x)))
        if not further:
            return x
        if hasattr(jax.lax, "pcast"):
            return jax.lax.pcast(x, further, to="varying")
        return jax.lax.pvary(x, further)

    return jax.tree.map(vary, tree)


def alike(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """All arrays varying over the axes of any, so that a gradient is summed over the others."""
    axes = axes_of(*arrays)
    return tuple(varying(x, axes) for x in arrays)


def anywhere(
    function: Callable[..., Any], arrays: tuple[Array, ...], like: tuple[Array, ...] = ()
) -> Any:
    """``function(*arrays)``, also where the mesh wants every step to say how its result is cut.

    The compiler chooses for the steps. Results are whole on every device, but for the first ones,
    which are cut as the arrays in `like`.
    """
    mesh = _explicit(arrays)
    if mesh is None:
        return function(*arrays)
    explicit = jax.sharding.AxisType.Explicit
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, kind in kinds if kind == explicit)
    whole = NamedSharding(mesh, PartitionSpec())
    results = jax.eval_shape(function, *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays))
    cuts: Any = jax.tree.map(lambda _: whole, results)
    if like:
        first = (
            None if result is None else jax.typeof(x).sharding
            for result, x in zip(results, like, strict=False)
        )
        cuts = (*first, *cuts[len(like) :])
    return jax.sharding.auto_axes(function, axes=axes, out_sharding=cuts)(*arrays)


def _explicit(arrays: tuple[Array, ...]) -> Any:
    """The mesh with explicit axes on which one of the arrays lies; None without one."""
    if not hasattr(jax.sharding, "auto_axes"):
        return None
    for x in arrays:
        mesh = getattr(jax.typeof(x).sharding, "mesh", None)
        if mesh is not None and jax.sharding.AxisType.Explicit in mesh.axis_types:
            return mesh
    return None
