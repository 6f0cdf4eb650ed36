"""SimCLR on digits over several processes, whatever their share of the batch.

Two noisy views of each digit, NT-Xent over the batch of all ranks, DDP. The number is the share of
held-out digits whose nearest neighbour is of their class.

    torchrun --nproc-per-node=3 examples/distributed_simclr.py --seed 0

Expected: 1-NN accuracy 0.94 to 0.99, for any number of processes.
Time on 2 cores: 10 s.
Data: digits, with scikit-learn.
"""

import argparse
import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import nearfar as nf
from nearfar.metrics import knn_accuracy
from nearfar.torch.distributed import Loss

LOW, HIGH = 0.94, 0.99


def views(x: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
    """Two random changes of each row: noise, and a fifth of the pixels dropped."""
    keep = [torch.rand(x.shape, generator=generator) > 0.2 for _ in range(2)]
    return [x * k + 0.1 * torch.randn(x.shape, generator=generator) for k in keep]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--small", action="store_true", help="a fifth of the steps")
    given = options.parse_args()

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(given.seed)
    data, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(data, dtype=torch.float32) / 16
    order = torch.randperm(len(x))
    train, held_out = order[:1200], order[1200:]

    encoder = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128))
    head = nn.Sequential(nn.ReLU(), nn.Linear(128, 32))
    model = DistributedDataParallel(nn.Sequential(encoder, head))
    criterion = Loss(nf.NTXent(temperature=0.3))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    # All ranks draw the same batch and the same views, and take their own rows of them.
    generator = torch.Generator().manual_seed(given.seed)
    for step in range(60 if given.small else 300):
        chosen = train[torch.randperm(len(train), generator=generator)[:250]]
        own = [view.tensor_split(ranks)[rank] for view in views(x[chosen], generator)]
        a, b = model(torch.cat(own)).chunk(2)
        value = criterion(a, b)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if rank == 0 and step % 60 == 59:
            print(f"step {step + 1}: loss {value.item():.4f}")

    with torch.no_grad():
        z = encoder(x).numpy()
    found = knn_accuracy(z[held_out], labels[held_out], z[train], labels[train], k=1)
    dist.destroy_process_group()
    if rank == 0:
        print(f"{ranks} ranks, 1-NN accuracy {found:.3f} (expected {LOW} to {HIGH})")
    return int(not LOW <= found <= HIGH)


if __name__ == "__main__":
    sys.exit(main())
