"""Implementations of losses of rows against proxies, which they own as a parameter."""

from math import radians

from nearfar.losses import (
    ArcFace,
    CosFace,
    NormalizedSoftmax,
    ProxyAnchor,
    ProxyNCA,
    SoftTriple,
)
from nearfar.presets.record import UNRECORDED, Preset

_ROWS = (
    "Rows (n, d) and labels (n,); its parameter is p (C, d), or transposed, and c (C, K, d) of "
    "several centres: give it at every call, or let nearfar.torch.Loss(loss, proxies=...) hold it."
)

PROXIES = [
    Preset(
        name="pytorch-metric-learning/ProxyNCALoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/proxy_losses.py",
        loss=ProxyNCA(temperature=1.0),
        differs="Squared distances of unit rows; temperature is 1 / softmax_scale, 1 by default.",
        original="ProxyNCALoss(C, d, softmax_scale=1)(z, y)",
        call="loss(z, y, p)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/NormalizedSoftmaxLoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/normalized_softmax_loss.py",
        loss=NormalizedSoftmax(temperature=0.05),
        differs="Nothing.",
        original="NormalizedSoftmaxLoss(C, d, temperature=0.05)(z, y)",
        call="loss(z, y, p)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/CosFaceLoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/cosface_loss.py",
        loss=CosFace(temperature=1 / 64, margin=0.35),
        differs="temperature is 1 / scale.",
        original="CosFaceLoss(C, d, margin=0.35, scale=64)(z, y)",
        call="loss(z, y, p)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/ArcFaceLoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/arcface_loss.py",
        loss=ArcFace(temperature=1 / 64, margin=radians(28.6)),
        differs="Its margin is in degrees; temperature is 1 / scale.",
        traps=("margin=0.5 would be half a degree.",),
        original="ArcFaceLoss(C, d, margin=28.6, scale=64)(z, y)",
        call="loss(z, y, p)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/SoftTripleLoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/soft_triple_loss.py",
        loss=SoftTriple(temperature=0.05, gamma=0.1, margin=0.01),
        differs="temperature is 1 / la; nothing regularises the centres.",
        original="SoftTripleLoss(C, d, centers_per_class=10, la=20, gamma=0.1, margin=0.01)(z, y)",
        call="loss(z, y, c)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/ProxyAnchorLoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/proxy_anchor_loss.py",
        loss=ProxyAnchor(alpha=32.0, margin=0.1),
        differs="Nothing, without a miner.",
        traps=("With a miner rows that are not mined keep a weight of 1/e.",),
        original="ProxyAnchorLoss(C, d, margin=0.1, alpha=32)(z, y)",
        call="loss(z, y, p)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="Proxy-Anchor/Proxy_Anchor",
        version=UNRECORDED,
        source="code/losses.py",
        loss=ProxyAnchor(alpha=32.0, margin=0.1),
        differs="Nothing; mrg is the margin.",
        traps=("Its proxies are drawn by Kaiming's rule, on the GPU.",),
        original="Proxy_Anchor(C, d, mrg=0.1, alpha=32)(z, y)",
        call="loss(z, y, p)",
        inputs=_ROWS,
    ),
]
