"""Every product that a loss makes in JAX is in full precision, on devices that would round."""

import jax
import jax.numpy as jnp
import pytest

import nearfar as nf

LOSSES = {"tiles": nf.NTXent(), "rows": nf.BatchTriplet(mining="hard"), "moments": nf.VICReg()}


def _products(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _products(inner)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_value_and_gradient(loss):
    x = jnp.linspace(-1, 2, 48).reshape(8, 6)
    second = jnp.arange(8) % 3 if loss.inputs[1] == "labels" else jnp.cos(x)

    def both(x):
        gradient = jax.value_and_grad(lambda x: loss(x, second))
        return loss.value_and_grad(x, second), gradient(x)

    with jax.default_matmul_precision("tensorfloat32"):
        found = list(_products(jax.make_jaxpr(both)(x).jaxpr))
    assert len(found) >= 2
    highest = jax.lax.Precision.HIGHEST
    assert all(p in (highest, (highest, highest)) for p in found), found
