"""Time to trace and compile value and gradient, for few tiles and for many.

    python -m benchmarks.compiling

Programs hold one body for all tiles of equal size, so the time must not grow with their number.
Medians of fresh compilations; the ratio of 66 tiles to 3 is what counts.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow as tf
import torch

import nearfar as nf

TILE = 16
ROWS = {3: 16, 66: 88}  # rows of each view, by the number of tiles they make
REPEATS = 5


def compile_torch(loss: nf.Loss, arrays: list[np.ndarray]) -> None:
    torch.compiler.reset()
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    torch.compile(loss, fullgraph=True, backend="aot_eager")(*leaves).backward()


def compile_tensorflow(loss: nf.Loss, arrays: list[np.ndarray]) -> None:
    @tf.function(autograph=False)
    def gradient(*inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*inputs)
        return tape.gradient(value, inputs)

    gradient(*(tf.constant(x) for x in arrays))


def compile_jax(loss: nf.Loss, arrays: list[np.ndarray]) -> None:
    jax.clear_caches()
    jax.jit(jax.grad(loss, (0, 1))).lower(*(jnp.asarray(x) for x in arrays)).compile()


COMPILERS: dict[str, Callable[[nf.Loss, list[np.ndarray]], None]] = {
    "torch.compile": compile_torch,
    "tf.function": compile_tensorflow,
    "jax.jit": compile_jax,
}


def main() -> None:
    rng = np.random.default_rng(0)
    loss = nf.NTXent().with_options(tile=TILE)
    print(f"{'':16}{'3 tiles, s':>12}{'66 tiles, s':>12}{'ratio':>8}")
    for name, compile_ in COMPILERS.items():
        medians = {}
        for tiles, rows in ROWS.items():
            arrays = [rng.normal(size=(rows, 8)).astype(np.float32) for _ in range(2)]
            compile_(loss, arrays)
            times = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                compile_(loss, arrays)
                times.append(time.perf_counter() - start)
            medians[tiles] = statistics.median(times)
        print(f"{name:16}{medians[3]:12.2f}{medians[66]:12.2f}{medians[66] / medians[3]:8.2f}")


if __name__ == "__main__":
    main()
