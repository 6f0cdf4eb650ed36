"""Who is timed, value and gradient of the embeddings: nearfar, dense formulas, peers."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

import nearfar as nf
from benchmarks.gpu.clock import DEVICE, DRY

LOSSES: dict[str, nf.Loss] = {
    "NTXent": nf.NTXent(),
    "SupCon": nf.SupCon(),
    "CLIP": nf.CLIP(),
    "SigLIP": nf.SigLIP(),
    "HCL": nf.HCL(),
    "InfoNCE": nf.InfoNCE(),
}
# n x n arrays of a dense formula beyond this do not fit beside their gradients.
_DENSE = 32_768


def inputs(name: str, n: int, d: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """n rows in all for a loss of views or labels, n a side for others; 8 rows a class."""

    def rows(count: int) -> torch.Tensor:
        return torch.randn(count, d, device=DEVICE).to(dtype)

    if name in ("NTXent", "HCL"):
        return rows(n // 2), rows(n // 2)
    if name == "SupCon":
        return rows(n), torch.randint(0, max(2, n // 8), (n,), device=DEVICE)
    return rows(n), rows(n)


def dense(name: str, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The formula with its n x n array, as it is commonly written."""
    if name == "HCL":
        return _hcl(*given)
    if name == "NTXent":
        z = F.normalize(torch.cat(given))
        n = len(z)
        itself = torch.eye(n, dtype=torch.bool, device=z.device)
        logits = (z @ z.T / 0.5).float().masked_fill(itself, -math.inf)
        return F.cross_entropy(logits, (torch.arange(n, device=z.device) + n // 2) % n)
    if name == "SupCon":
        z, labels = F.normalize(given[0]), given[1]
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        logits = (z @ z.T / 0.1).float().masked_fill(itself, -math.inf)
        same = (labels[:, None] == labels) & ~itself
        logs = logits - torch.logsumexp(logits, 1, keepdim=True)
        count = same.sum(1)
        terms = -torch.where(same, logs, 0.0).sum(1) / count.clamp_min(1)
        return terms.sum() / (count > 0).sum()
    u, v = F.normalize(given[0]), F.normalize(given[1])
    n = len(u)
    target = torch.arange(n, device=u.device)
    if name == "SigLIP":
        logits = (u @ v.T / 0.1).float() - 10
        sign = 2 * torch.eye(n, device=u.device) - 1
        return -F.logsigmoid(sign * logits).sum() / n
    logits = (u @ v.T / 0.07).float()
    one = F.cross_entropy(logits, target)
    return one if name == "InfoNCE" else (one + F.cross_entropy(logits.T, target)) / 2


def _hcl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """As its authors wrote it: temperature 0.5, beta 1, tau+ 0.1."""
    u, v = F.normalize(a), F.normalize(b)
    z, others = torch.cat([u, v]), 2 * len(a) - 2
    pairs = torch.exp((u * v).sum(1).float() / 0.5).repeat(2)
    place = torch.arange(len(z), device=z.device) % len(a)
    e = torch.exp((z @ z.T).float() / 0.5).masked_fill(place[:, None] == place, 0)
    reweighted = (e * e).sum(1) / (e.sum(1) / others)
    negative = ((reweighted - 0.1 * others * pairs) / 0.9).clamp_min(others * math.exp(-2))
    return -torch.log(pairs / (pairs + negative)).mean()


def chunked(x: torch.Tensor, y: torch.Tensor, rows: int = 2048) -> tuple[torch.Tensor, ...]:
    """CLIP as chunked linear cross-entropy computes it, the gradient with the value."""
    u, v = F.normalize(x), F.normalize(y)
    gu, gv = (torch.zeros_like(z, dtype=torch.float32) for z in (u, v))
    value, n = torch.zeros((), device=x.device), len(x)
    for a, b, ga, gb in ((u, v, gu, gv), (v, u, gv, gu)):
        for i in range(0, n, rows):
            logits = (a[i : i + rows] @ b.T).float() / 0.07
            log = torch.logsumexp(logits, 1)
            place = torch.arange(len(logits), device=x.device)
            value = value + (log - logits[place, place + i]).sum()
            g = torch.exp(logits - log[:, None])
            g[place, place + i] -= 1
            g = (g / (2 * n * 0.07)).to(a.dtype)
            ga[i : i + rows] += g @ b
            gb += g.T @ a[i : i + rows]
    return value / (2 * n), gu, gv


def _linear_cross_entropy(given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """CLIP by PyTorch's own."""
    u, v = (F.normalize(x) for x in given)
    target = torch.arange(len(u), device=u.device)
    chunks = torch.nn.LinearCrossEntropyOptions()
    one = F.linear_cross_entropy(u / 0.07, v, target, options=chunks)
    return (one + F.linear_cross_entropy(v / 0.07, u, target, options=chunks)) / 2


def differentiated(
    formula: Callable[[tuple[torch.Tensor, ...]], torch.Tensor],
    given: tuple[torch.Tensor, ...],
    autocast: bool = False,
) -> Callable[[], Any]:
    def call() -> Any:
        leaves = tuple(x.detach().requires_grad_(x.is_floating_point()) for x in given)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
            value = formula(leaves)
        return torch.autograd.grad(value, [x for x in leaves if x.requires_grad])

    return call


def contenders(
    name: str, given: tuple[torch.Tensor, ...], tiles: bool
) -> dict[str, Callable[[], Any]]:
    loss, n = LOSSES[name], len(given[0])
    found: dict[str, Callable[[], Any]] = {"nearfar": lambda: loss.value_and_grad(*given)}
    if tiles:
        plain = loss.with_options(kernel="tiles")
        found["nearfar, tiles"] = lambda: plain.value_and_grad(*given)
    if n <= _DENSE:
        found["dense"] = differentiated(lambda z: dense(name, z), given)
        if given[0].dtype == torch.float32:
            found["dense, autocast"] = differentiated(lambda z: dense(name, z), given, True)
    if name == "CLIP":
        found["chunked"] = lambda: chunked(*given)
        if hasattr(torch.nn, "LinearCrossEntropyOptions"):
            found["torch, chunked"] = differentiated(_linear_cross_entropy, given)
    if DRY:
        return found
    if name == "CLIP":
        found |= _clip_peers(given)
    if name == "SigLIP":
        found |= _siglip_peer(given)
    return found


def _clip_peers(given: tuple[torch.Tensor, ...]) -> dict[str, Callable[[], Any]]:
    found = {}
    try:
        from memeff import MemoryEfficientCLIPLoss

        loss = MemoryEfficientCLIPLoss(temperature=0.07, stable=False)
        found["memeff"] = differentiated(lambda z: loss(*z), given)
    except ImportError:
        pass
    try:
        from inf_cl.flash import cal_flash_loss

        width = min(given[0].shape[1], 256)

        def both(z: tuple[torch.Tensor, ...]) -> torch.Tensor:
            u, v = F.normalize(z[0]), F.normalize(z[1])
            one = cal_flash_loss(u, v, scale=1 / 0.07, head_dim=width).mean()
            return (one + cal_flash_loss(v, u, scale=1 / 0.07, head_dim=width).mean()) / 2

        if given[0].shape[1] % width == 0:
            found["Inf-CL"] = differentiated(both, given)
    except ImportError:
        pass
    return found


def _siglip_peer(given: tuple[torch.Tensor, ...]) -> dict[str, Callable[[], Any]]:
    try:
        from siglip_kernel import fused_siglip_loss
    except ImportError:
        return {}
    scale, bias = (torch.tensor(x, device=DEVICE) for x in (math.log(10.0), -10.0))

    def formula(z: tuple[torch.Tensor, ...]) -> torch.Tensor:
        u, v = F.normalize(z[0], dim=-1), F.normalize(z[1], dim=-1)
        return fused_siglip_loss(u, v, scale, bias)

    return {"siglip-kernel": differentiated(formula, given)}
