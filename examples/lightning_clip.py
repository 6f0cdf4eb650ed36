"""CLIP in Lightning: the upper half of a digit has to find its lower half.

With one process the encoders see 64 halves of a batch of 1,024 at once, and gradients are those of
the whole batch. With more, `--devices 2`, each has a part of the batch, and the loss is that of all
parts together. The number is how often the partner is among the first ten of 500 held-out halves;
chance is 0.02.

    python examples/lightning_clip.py --seed 0

Expected: recall@10 0.7 to 0.9 (seeds 0, 1, 2: 0.794, 0.774, 0.816).
Time on 2 cores: 20 s.
Data: digits, with scikit-learn.
Needs: lightning.
"""

import argparse
import logging
import sys
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nearfar as nf
import nearfar.torch
from nearfar.torch.distributed import Loss as GlobalLoss

CHUNK = 64


def tower() -> nn.Module:
    layers = nn.Linear(32, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 32)
    return nn.Sequential(*layers)


class TwoTowers(lightning.LightningModule):
    def __init__(self, devices: int) -> None:
        super().__init__()
        self.upper, self.lower = tower(), tower()
        # On every rank, of its own rows: the loss of all of them, scaled for the average of DDP.
        criterion = GlobalLoss if devices > 1 else nearfar.torch.Loss
        self.criterion = criterion(nf.CLIP(), learn_temperature=True)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        (x,) = batch
        parts = x[:, :32], x[:, 32:]
        if self.trainer.world_size > 1:
            a, b = self.upper(parts[0]), self.lower(parts[1])
        else:
            towers = self.upper, self.lower
            a, b = nearfar.torch.cached_embeddings(towers, parts, chunk=CHUNK)
        value = self.criterion(a, b)
        self.log_dict({"loss": value, "temperature": self.criterion.temperature}, prog_bar=True)
        return value

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--small", action="store_true", help="half of the steps")
    options.add_argument("--devices", type=int, default=1)
    given = options.parse_args()
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # its advice on workers

    steps, (low, high) = (60, (0.6, 0.85)) if given.small else (120, (0.7, 0.9))
    lightning.seed_everything(given.seed)
    x = torch.as_tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    train, held_out = x[:-500], x[-500:]
    loader = DataLoader(
        TensorDataset(train), batch_size=1024 // given.devices, shuffle=True, drop_last=True
    )
    model = TwoTowers(given.devices)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=given.devices,
        strategy="ddp" if given.devices > 1 else "auto",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    print(f"loss {trainer.callback_metrics['loss']:.4f}")

    model.eval()
    with torch.no_grad():
        halves = model.upper(held_out[:, :32]), model.lower(held_out[:, 32:])
        a, b = (nn.functional.normalize(z) for z in halves)
    similar = a @ b.T
    better = (similar > similar.diagonal()[:, None]).sum(1)
    found = (better < 10).float().mean().item()
    if trainer.is_global_zero:
        print(f"recall@10 {found:.3f} (expected {low} to {high})")
    return int(not low <= found <= high)


if __name__ == "__main__":
    sys.exit(main())
