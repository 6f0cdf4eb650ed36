"""Training steps in several processes; started by torchrun's environment or `start`."""

import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

import nearfar as nf
import nearfar.torch
from nearfar.torch.distributed import Loss

STEPS = 5
TIMEOUT = 120
"""Seconds."""
FEATURES, DIM = 5, 4
N = 13
QUEUE = 6
SHARDS = {
    1: [[13], [9]],
    2: [[9, 4], [9, 0]],
    3: [[6, 0, 7], [2, 4, 3]],
}
"""Rows of each rank, in steps that take turns."""

LOSSES = {
    "ntxent": nf.NTXent(),
    "ntxent, tiles": nf.NTXent(include_self=True).with_options(tile=4),
    "ntxent, first": nf.NTXent(anchors="first"),
    "supcon": nf.SupCon(temperature=0.3),
    "supcon, itself positive": nf.SupCon(include_self="positive").with_options(tile=4),
    "supcon, own positive": nf.SupCon(denominator="own_positive", positives="log_mean"),
    "supcon, negatives": nf.SupCon(
        denominator="negatives", average="pairs", similarity="neg_euclidean"
    ).with_options(tile=3),
    "supcon, several labels": nf.SupCon(
        denominator="own_positive", without_positives="zero"
    ).with_options(tile=4),
    "hcl": nf.HCL(tau_plus=0.3),
    "hcl, clamped": nf.HCL(temperature=1.5, tau_plus=0.6, beta=0.5),
    "dcl": nf.DCL(temperature=0.2, reduction="sum", scale=0.1),
    "clip": nf.CLIP().with_options(tile=3),
    "siglip": nf.SigLIP(bias=-2.0),
    "infonce": nf.InfoNCE(temperature=0.4),
    "infonce, queue": nf.InfoNCE(temperature=0.4).with_options(tile=3),
    "supcr": nf.SupCR(),
    "batchtriplet": nf.BatchTriplet(),
    "batchtriplet, hard": nf.BatchTriplet(mining="hard", without_positives="zero"),
    "pairmargin": nf.PairMargin(),
    "multisimilarity": nf.MultiSimilarity(beta=20.0),
    "multisimilarity, mined": nf.MultiSimilarity(mining=0.1, without_positives="skip"),
    "circle": nf.Circle(gamma=8.0),
    "lifted": nf.Lifted(),
    "lifted, pairs": nf.Lifted(form="pairs").with_options(tile=4),
    "npair": nf.NPair(l2=0.1),
    "koleo": nf.KoLeo(),
    "uniformity": nf.Uniformity(),
    "alignment": nf.Alignment(),
    "vicreg": nf.VICReg(),
    "barlowtwins": nf.BarlowTwins(),
    "cosent": nf.CoSENT(temperature=0.3),
    "angle": nf.AnglE(temperature=0.3),
    "smoothap": nf.SmoothAP(temperature=0.1),
    "triplet": nf.Triplet(margin=2.0),
    "proxynca": nf.ProxyNCA(),
    "normalizedsoftmax": nf.NormalizedSoftmax(temperature=0.3, reduction="sum", scale=0.1),
    "cosface": nf.CosFace(temperature=0.2).with_options(memory=400),
    "arcface": nf.ArcFace(temperature=0.3),
    "softtriple": nf.SoftTriple(),
    "proxyanchor": nf.ProxyAnchor(alpha=8.0),
    "weightedsum": nf.SupCon(temperature=0.3) + 0.5 * nf.BatchTriplet() + 0.2 * nf.SmoothAP(),
    "weightedsum, proxies": 0.3 * (nf.ProxyAnchor(alpha=8.0) + nf.ProxyNCA(temperature=0.2)),
    "matryoshka": nf.Matryoshka(nf.CLIP(temperature=0.2), dims=(2, 4), weights=(1.0, 0.5)),
    "matryoshka, proxies": nf.Matryoshka(nf.CosFace(temperature=0.2), dims=(2, 3)),
}

CLASSES, CENTRES = 5, 2

COUNTED = {
    "ntxent": {"V": 2, "S": 2, "P": 2, "f": 0, "k": 1},
    "supcon": {"V": 1, "S": 3, "P": 1, "f": 8, "k": 1},
    "supcon, negatives": {"V": 1, "S": 2, "P": 1, "f": 8, "k": 1},
    "supcon, own positive": {"V": 1, "S": 2 + 1, "P": 1, "f": 8, "k": 1},
    "supcon, several labels": {"V": 1, "S": 2 + 1 + 1, "P": 1, "f": 24, "k": 1},
    "hcl": {"V": 2, "S": 3, "P": 2, "f": 0, "k": 1},
    "clip": {"V": 2, "S": 2, "P": 2, "f": 0, "k": 1},
    "siglip": {"P": 2, "f": 0, "k": 2},
    "supcr": {"P": 1, "f": 4, "k": 1},
    "batchtriplet": {"P": 1, "f": 8, "k": 0},
}
"""Losses whose bytes are counted, in the letters of docs/scaling.md; partitions have a V."""


def batch(name: str, step: int, dtype: torch.dtype) -> tuple[list[torch.Tensor], list]:
    """What the encoder gets and what the loss gets beside: the whole batch."""
    seed = torch.Generator().manual_seed(step)
    n = sum(SHARDS[1][step % 2])
    loss = LOSSES[name]
    inputs = len([x for x in loss.embeddings if x not in (*loss.optional, "proxies")])
    x = [torch.randn(n, FEATURES, generator=seed, dtype=torch.float64) for _ in range(inputs)]
    facts: list = []
    if name == "infonce, queue":
        facts = [torch.randn(QUEUE, DIM, generator=seed).to(dtype)]
    if name == "supcon, several labels":
        facts = [(torch.rand(n, 3, generator=seed) < 0.4).to(torch.int64)]
    elif "labels" in LOSSES[name].inputs:
        facts = [torch.randint(4, (n,), generator=seed)]
    elif "targets" in LOSSES[name].inputs:
        facts = [torch.randint(9, (n,), generator=seed).to(dtype)]
    return [z.to(dtype) for z in x], facts


def own(name: str, step: int, dtype: torch.dtype) -> tuple[list[torch.Tensor], list]:
    """This rank's part of `batch`; a queue is on one rank, another one in every step."""
    x, facts = batch(name, step, dtype)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    shards = SHARDS[ranks][step % 2]
    x = [z.split(shards)[rank] for z in x]
    if name == "infonce, queue":
        return x, [z if rank == step % ranks else z[:0] for z in facts]
    return x, [z.split(shards)[rank] for z in facts]


def encoder(dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(7)
    layers = torch.nn.Linear(FEATURES, 6), torch.nn.Tanh(), torch.nn.Linear(6, DIM)
    return torch.nn.Sequential(*layers).to(dtype)


def proxies(loss: nf.Loss) -> tuple[int, ...] | None:
    """The shape of the loss's proxies, if it takes any."""
    if "proxies" not in loss.inputs:
        return None
    return (CLASSES, CENTRES, DIM) if isinstance(loss, nf.SoftTriple) else (CLASSES, DIM)


def train(
    name: str, dtype: torch.dtype, ddp: bool, gradient: str, chunk: int | None = None
) -> dict[str, list]:
    """Values, and parameters at the end, of a few steps; on one process if there is one."""
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    model = encoder(dtype)
    loss = LOSSES[name]
    learn, held = "temperature" in loss.parameters, proxies(loss)
    if ranks == 1:
        criterion = nearfar.torch.Loss(loss, learn, proxies=held)
    else:
        criterion = Loss(loss, learn, gradient=gradient, proxies=held)
    criterion = criterion.to(dtype)
    wrapped = torch.nn.parallel.DistributedDataParallel(model) if ddp else model
    parameters = [*model.parameters(), *criterion.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    values = []
    for step in range(STEPS):
        x, facts = (own if ranks > 1 else batch)(name, step, dtype)
        optimizer.zero_grad()
        if chunk is None:
            outputs = [y.contiguous() for y in wrapped(torch.cat(x)).chunk(len(x))]
            value = criterion(*outputs, *facts)
            value.backward()
        elif step % 2:
            value = nearfar.torch.cached_step(wrapped, x, criterion, *facts, chunk=chunk)
        else:
            outputs = nearfar.torch.cached_embeddings(wrapped, list(x), chunk=chunk)
            value = criterion(*outputs, *facts)
            value.backward()
        if ranks > 1 and not ddp:
            _add_up(parameters, gradient, len(list(model.parameters())))
        optimizer.step()
        values.append(value.item())
    return {"values": values, "parameters": [p.detach().double().numpy() for p in parameters]}


def _add_up(parameters: list, gradient: str, of_model: int) -> None:
    """What DDP does, or its sum; the loss's own parameters need nothing under "ddp_mean"."""
    for k, p in enumerate(parameters):
        if gradient == "sum":
            dist.all_reduce(p.grad)
        elif k < of_model:
            dist.all_reduce(p.grad)
            p.grad /= dist.get_world_size()


def start(script: Path, ranks: int, folder: Path, *arguments: str) -> list[subprocess.Popen]:
    """The processes that torchrun would start, each with its rank in the environment."""
    processes = []
    for rank in range(ranks):
        env = os.environ | {
            "RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "OMP_NUM_THREADS": "1",
            "STORE": str(folder / "store"),
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
        command = [sys.executable, str(script), str(folder), *arguments]
        processes.append(
            subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        )
    return processes


def join() -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.environ["STORE"], int(os.environ["WORLD_SIZE"]))
    dist.init_process_group(
        "gloo",
        store=store,
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=timedelta(seconds=TIMEOUT),
    )


def write(folder: Path, found: object) -> None:
    with (folder / f"rank{dist.get_rank()}.pkl").open("wb") as file:
        pickle.dump(found, file)
