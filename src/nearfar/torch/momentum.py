"""The slowly moving copy of an encoder, as MoCo and BYOL keep one."""

import torch

from nearfar.losses import arguments


@torch.no_grad()  # type: ignore[untyped-decorator]
def update_momentum(target: torch.nn.Module, online: torch.nn.Module, momentum: float) -> None:
    """Move `target` a little towards `online`, in place.

    Formula: target = momentum * target + (1 - momentum) * online, for parameters and floating
    buffers; other buffers, such as counters, are copied.

    Source: He et al. 2020, MoCo, arXiv 1911.05722, eq. 2.

    Parameters
    ----------
    target, online
        Two modules with the same parameters and buffers.
    momentum
        From 0 (a copy) up to 1 (no change).

    Raises
    ------
    TypeError, ValueError
        For a momentum out of range, and modules of different structure; nothing is changed then.
    """
    momentum = arguments.real(
        "momentum", momentum, {"number": "a number from 0 to 1", "from": 0, "to": 1}
    )
    into, of = (dict(m.named_parameters()) | dict(m.named_buffers()) for m in (target, online))
    different = sorted(
        {name for name in into.keys() | of.keys() if name not in into or name not in of}
        | {name for name in into.keys() & of.keys() if into[name].shape != of[name].shape}
    )
    if different:
        raise ValueError(
            "expected target and online with the same parameters and buffers; different are "
            f"{', '.join(different[:5])}; make target with copy.deepcopy(online)"
        )
    for name, x in into.items():
        other = of[name].to(device=x.device, dtype=x.dtype)
        if x.is_floating_point() or x.is_complex():
            x.lerp_(other, 1 - momentum)
        else:
            x.copy_(other)
