"""CLIP of two halves of a picture, with a batch of 1,024 through encoders that see 64 at once.

    python examples/cached_clip.py --small

The upper half of a digit has to find its lower half. Prints how often it is the first of the
held-out halves, or among the first ten.
"""

import argparse
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import nearfar as nf
import nearfar.torch

EXPECTED, TOLERANCE = 0.75, 0.10
"""Recall at 10 among 500 halves; chance is 0.02."""


def tower() -> nn.Module:
    layers = nn.Linear(32, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 32)
    return nn.Sequential(*layers)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--small", action="store_true", help="half of the steps")
    given = options.parse_args()

    torch.manual_seed(given.seed)
    x = torch.as_tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    train, held_out = x[:-500], x[-500:]
    upper, lower = tower(), tower()
    criterion = nearfar.torch.Loss(nf.CLIP(), learn_temperature=True)
    parameters = [*upper.parameters(), *lower.parameters(), *criterion.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    for step in range(60 if given.small else 120):
        batch = train[torch.randperm(len(train))[:1024]]
        optimizer.zero_grad()
        halves = batch[:, :32], batch[:, 32:]
        value = nearfar.torch.cached_step((upper, lower), halves, criterion, chunk=64)
        optimizer.step()
        if step % 30 == 29:
            print(f"step {step + 1}: loss {value:.4f}, temperature {criterion.temperature:.4f}")

    for module in (upper, lower):
        module.eval()
    with torch.no_grad():
        a, b = (
            nn.functional.normalize(z) for z in (upper(held_out[:, :32]), lower(held_out[:, 32:]))
        )
    similar = a @ b.T
    better = (similar > similar.diagonal()[:, None]).sum(1)
    found = (better < 10).float().mean().item()
    print(f"recall@1 {(better < 1).float().mean():.3f}")
    print(f"recall@10 {found:.3f}, expected {EXPECTED} +- {TOLERANCE}")
    return int(abs(found - EXPECTED) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
