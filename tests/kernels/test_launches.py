"""How much a call by kernels asks of the device: few launches at any size, and no waits."""

import pytest
import torch
from support.launches import Launches

import nearfar as nf

LOSSES = {
    "ntxent": nf.NTXent(),
    "clip": nf.CLIP(),
    "siglip": nf.SigLIP(),
    "hcl": nf.HCL(),
    "infonce": nf.InfoNCE(),
    "supcon": nf.SupCon(),
    "supcon-own": nf.SupCon(denominator="own_positive"),
    "supcon-own-log": nf.SupCon(denominator="own_positive", positives="log_mean"),
    "euclidean": nf.NTXent(similarity="neg_sqeuclidean"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n", [256, 65_536])
@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
@pytest.mark.parametrize("name", LOSSES)
def test_at_most_twelve(triton_kernels, monkeypatch, name, learned, n, dtype):
    from support.compiling import Recorder

    from nearfar.frameworks.torch import namespace
    from nearfar.frameworks.triton import partition

    recorder = Recorder()
    monkeypatch.setattr(namespace, "_FUSED", {"meta"})
    monkeypatch.setattr(partition, "Launcher", lambda *_: recorder)
    x, y = (torch.empty(n, 128, dtype=dtype, device="meta") for _ in range(2))
    if name.startswith("supcon"):
        y = torch.empty(n, dtype=torch.int64, device="meta")
    named = {"temperature": torch.empty((), device="meta")} if learned else {}
    loss = LOSSES[name].with_options(kernel="fused")
    with Launches() as count:
        loss.value_and_grad(x, y, **named)
    assert not count.waits
    assert recorder.launches
    assert count.total + len(recorder.launches) <= 12, (count.launches, len(recorder.launches))
