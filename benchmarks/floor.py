"""Value and gradient against the floor (bare matrix products) and the dense formula.

    python -m benchmarks.floor [ROWS ...]

Interleaved runs in one process, float32, 128 dimensions, the threads that NumPy and PyTorch take by
themselves. Prints medians and their ratios to three bare products of NumPy, which is what automatic
differentiation of the dense formula needs at the least, and to that formula in PyTorch.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import nearfar as nf

FEATURES = 128
PER_CLASS = 8
REPEATS = 7


def dense_ntxent(a: torch.Tensor, b: torch.Tensor, temperature: float) -> torch.Tensor:
    """One similarity matrix and a cross-entropy, as a careful engineer writes it."""
    z = torch.nn.functional.normalize(torch.cat([a, b]))
    n = len(z)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(logits, (torch.arange(n) + n // 2) % n)


def dense_supcon(x: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    z = torch.nn.functional.normalize(x)
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    positives = (labels[:, None] == labels[None, :]) & ~itself
    log_prob = logits - torch.logsumexp(logits.masked_fill(itself, -torch.inf), 1, keepdim=True)
    count = positives.sum(1)
    per_anchor = torch.where(positives, log_prob, 0).sum(1) / count.clamp(min=1)
    return -per_anchor.sum() / (count > 0).sum()


def backward(loss: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> None:
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in inputs]
    loss(*leaves).backward()


def candidates(rows: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    a, b = np.ascontiguousarray(x[::2]), np.ascontiguousarray(x[1::2])
    labels = rng.integers(0, rows // PER_CLASS, rows)
    tx, ta, tb, tl = (torch.from_numpy(array) for array in (x, a, b, labels))
    square, product = np.empty((rows, rows), np.float32), np.empty_like(x)
    ntxent, supcon = nf.NTXent(temperature=0.5), nf.SupCon(temperature=0.1)
    ntxent_2, supcon_2 = ntxent.with_options(workers=2), supcon.with_options(workers=2)

    def three_products() -> None:
        np.matmul(x, x.T, out=square)
        np.matmul(square, x, out=product)
        np.matmul(square.T, x, out=product)

    return {
        "three bare products": three_products,
        "dense NT-Xent, torch": lambda: backward(lambda *v: dense_ntxent(*v, 0.5), ta, tb),
        "dense SupCon, torch": lambda: backward(lambda *v: dense_supcon(*v, 0.1), tx, tl),
        "NTXent, torch": lambda: backward(ntxent, ta, tb),
        "SupCon, torch": lambda: backward(supcon, tx, tl),
        "NTXent, numpy": lambda: ntxent.value_and_grad(a, b),
        "SupCon, numpy": lambda: supcon.value_and_grad(x, labels),
        "NTXent, numpy, 2 workers": lambda: ntxent_2.value_and_grad(a, b),
        "SupCon, numpy, 2 workers": lambda: supcon_2.value_and_grad(x, labels),
    }


def main(sizes: list[int]) -> None:
    for rows in sizes:
        runs = candidates(rows)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(REPEATS + 1):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                if repeat:  # the first round warms up
                    times[name].append(time.perf_counter() - start)
        median = {name: statistics.median(values) for name, values in times.items()}
        print(f"{rows} rows of {FEATURES}, {torch.get_num_threads()} threads")
        print(f"{'':28}{'ms':>8}{'/ products':>12}{'/ dense':>9}")
        for name, value in median.items():
            dense = median[f"dense {'SupCon' if 'SupCon' in name else 'NT-Xent'}, torch"]
            floor = value / median["three bare products"]
            print(f"{name:28}{value * 1e3:8.1f}{floor:12.2f}{value / dense:9.2f}")


if __name__ == "__main__":
    main([int(rows) for rows in sys.argv[1:]] or [4096, 8192])
