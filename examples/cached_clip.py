"""CLIP of two parts of a picture, with a batch of 1,024 through encoders that see 64 at once.

The upper half of a digit has to find its lower half. The number is how often that is among the
first ten of 500 held-out parts; chance is 0.02.

    python examples/cached_clip.py --seed 0

Expected: recall@10 0.7 to 0.9 (seeds 0, 1, 2: 0.794, 0.792, 0.824).
Time on 2 cores: 10 s.
Data: digits, with scikit-learn.
"""

import argparse
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import nearfar as nf
import nearfar.torch


def tower() -> nn.Module:
    layers = nn.Linear(32, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 32)
    return nn.Sequential(*layers)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--small", action="store_true", help="half of the steps")
    given = options.parse_args()

    steps, (low, high) = (60, (0.6, 0.85)) if given.small else (120, (0.7, 0.9))
    torch.manual_seed(given.seed)
    x = torch.as_tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    train, held_out = x[:-500], x[-500:]
    upper, lower = tower(), tower()
    criterion = nearfar.torch.Loss(nf.CLIP(), learn_temperature=True)
    parameters = [*upper.parameters(), *lower.parameters(), *criterion.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    for step in range(steps):
        batch = train[torch.randperm(len(train))[:1024]]
        optimizer.zero_grad()
        parts = batch[:, :32], batch[:, 32:]
        value = nearfar.torch.cached_step((upper, lower), parts, criterion, chunk=64)
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
    print(f"recall@10 {found:.3f} (expected {low} to {high})")
    return int(not low <= found <= high)


if __name__ == "__main__":
    sys.exit(main())
