"""One rank: every loss, with DDP and without, in one start of the processes."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from ranks import LOSSES, join, train, write

LONG = [("ddp_mean", True), ("ddp_mean", False), ("sum", False)]

if __name__ == "__main__":
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    join()
    found = {}
    for k, name in enumerate(LOSSES):
        # In short each loss meets one of the cases, in turn.
        cases = LONG if mode == "long" else [LONG[k % 3]]
        for dtype in ("float64", "float32") if mode == "long" else ("float64",):
            for gradient, ddp in cases:
                ours = train(name, getattr(torch, dtype), ddp, gradient)
                found[name, dtype, gradient, ddp] = ours
    write(folder, found)
    dist.destroy_process_group()
