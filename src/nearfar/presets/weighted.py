"""Implementations of losses that weigh the pairs of rows with labels by one another."""

from nearfar.losses import Circle, MultiSimilarity
from nearfar.presets.record import UNRECORDED, Preset

_ROWS = "Rows (n, d) and labels (n,), as they are."
_PML = "pytorch_metric_learning/losses/"

WEIGHTED = [
    Preset(
        name="pytorch-metric-learning/MultiSimilarityLoss",
        version="2.9.0",
        source=_PML + "multi_similarity_loss.py",
        loss=MultiSimilarity(alpha=2.0, beta=50.0, base=0.5),
        differs="Nothing is mined, unless it is given its MultiSimilarityMiner; base is 0.5.",
        traps=("An anchor without positives counts with the part of its negatives.",),
        original="MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(z, y)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="research-ms-loss/MultiSimilarityLoss",
        version="8290973",
        source="ret_benchmark/losses/multi_similarity_loss.py",
        loss=MultiSimilarity(
            alpha=2.0,
            beta=40.0,
            base=0.5,
            mining=0.1,
            similarity="dot",
            without_positives="zero",
        ),
        differs="beta is 40 and base 0.5 in the authors' code, 50 and 1 in the paper.",
        traps=(
            "Rows have to be unit rows.",
            "A positive of similarity 1 - 1e-5 or above is taken for the anchor and left out.",
            "An anchor without positives or without negatives is an error there.",
        ),
        original="MultiSimilarityLoss(cfg)(z, y)",
        call="loss(z, y)",
        inputs="Unit rows (n, d) and labels (n,).",
    ),
    Preset(
        name="tensorflow-similarity/MultiSimilarityLoss",
        version="0.17",
        source="tensorflow_similarity/losses/multisim_loss.py",
        loss=MultiSimilarity(alpha=2.0, beta=40.0, base=0.5, mining=0.1),
        differs="Written in cosine distances; beta is 40. lmda is the base, with center=1.",
        traps=("The rows' losses are averaged by Keras, empty anchors as 0.",),
        original="MultiSimilarityLoss()(y, z)",
        call="loss(z, y)",
        inputs=_ROWS,
    ),
    Preset(
        name="pytorch-metric-learning/CircleLoss",
        version="2.9.0",
        source=_PML + "circle_loss.py",
        loss=Circle(margin=0.4, gamma=80.0),
        differs="The mean is over anchors with a loss above 0.",
        original="CircleLoss(m=0.4, gamma=80)(z, y)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="keras/Circle",
        version=UNRECORDED,
        source="keras/src/losses/losses.py",
        loss=Circle(margin=0.4, gamma=80.0, similarity="dot", detach=False),
        differs="The brackets are differentiated too.",
        traps=(
            "Rows have to be unit rows.",
            "On some backends a loss that underflows to 0 still counts in the mean.",
        ),
        original="keras.losses.Circle(gamma=80.0, margin=0.4)(y, z)",
        call="loss(z / np.linalg.norm(z, axis=1, keepdims=True), y)",
        normalises=True,
        inputs="Unit rows (n, d) and labels (n,).",
    ),
]
