"""Published figures again, by implementation: what a preset must give for the stated input.

`fields` are what the tables state beside the implementation's defaults. Inputs are those of
`figures`, whose check sums are tested there.
"""

from typing import NamedTuple

from oracles.figures import LABELS, OPTAX, OPTAX_ZERO, A, B, X


class Published(NamedTuple):
    name: str
    fields: dict
    inputs: tuple
    value: float
    digits: int = 6

    def within(self) -> float:
        """Half a unit of the last printed digit, and a little for rounding."""
        return 0.51 * 10.0**-self.digits


def _views(names, at_half, at_tenth, **fields):
    """A row of table A: the two views at temperatures 0.5 and 0.1."""
    for name in names:
        for temperature, value in ((0.5, at_half), (0.1, at_tenth)):
            yield Published(name, {"temperature": temperature, **fields}, (A, B), value)


def _labels(names, value, **fields):
    """A row of table B at temperature 0.1."""
    for name in names:
        yield Published(name, {"temperature": 0.1, **fields}, (X, LABELS), value)


def _margins(names, values, **fields):
    for name in names:
        for margin, value in values.items():
            yield Published(name, {"margin": margin, **fields}, (X, LABELS), value)


def _halves(name, at_half, at_tenth):
    """The similarity is half a cosine: twice the temperature."""
    yield Published(name, {"temperature": 1.0}, (A, B), at_half)
    yield Published(name, {"temperature": 0.2}, (A, B), at_tenth)


_PML, _ST = "pytorch-metric-learning/", "sentence-transformers/"
_COUNTED = {"scale_by": "constant", "without_positives": "skip"}

IMPLEMENTATIONS = [
    *_views(
        [
            "lightly/NTXentLoss",
            f"{_PML}SelfSupervisedLoss(NTXentLoss)",
            f"{_PML}SelfSupervisedLoss(SupConLoss)",
            "Spijkervet/SimCLR",
            "sthalles/SimCLR",
            "solo-learn/simclr",
            "vissl/simclr_info_nce_loss",
            "lightning-bolts/SimCLR",
            "joshr17/HCL:easy",
        ],
        *(1.574748, 0.163715),
    ),
    *_views(["chingyaoc/DCL"], 1.574748, 0.163715, tau_plus=0.0),
    *_views(
        ["google-research/simclr", "tensorflow-similarity/SimCLRLoss", "keras-cv/SimCLRLoss"],
        *(3.149496, 0.327431),
    ),
    *_views(["SupContrast/SupConLoss:views"], 11.248200, 0.233879),
    *_views(["google-research/supcon:views"], 0.787374, 0.016372),
    *_views(
        [
            "info-nce-pytorch/InfoNCE",
            f"{_ST}MultipleNegativesRankingLoss",
            f"{_PML}SelfSupervisedLoss(NTXentLoss):one_way",
        ],
        *(1.085415, 0.121157),
    ),
    *_views(
        [
            "open_clip/ClipLoss",
            "big_vision/softmax",
            "keras-io/semisupervised_simclr",
            f"{_ST}MultipleNegativesRankingLoss:symmetric",
        ],
        *(1.087210, 0.110164),
    ),
    *_views([f"{_ST}MultipleNegativesRankingLoss:q2d+q2q"], 1.562332, 0.166940),
    *_halves("quaterion/MultipleNegativesRankingLoss", 1.519510, 0.401730),
    *_views(["lightly/DCLLoss"], 1.334743, -2.352410),
    *_views(["raminnakhli/DCL"], 1.318136, -2.521341),
    *_views(["chingyaoc/DCL"], 1.291334, 0.000001),
    *_views(["joshr17/HCL:hard"], 1.535720, 0.138230),
    *_views(["joshr17/HCL:hard"], 1.748409, 0.519135, tau_plus=0.0),
    *_labels(
        ["SupContrast/SupConLoss:base_temperature=temperature", "google-research/StableRep"],
        0.944315,
    ),
    *_labels(["google-research/supcon"], 0.0944315),
    *_labels([f"{_PML}SupConLoss"], 1.049239),
    *_labels([f"{_PML}SupConLoss"], 1.220222, average="pairs"),
    *_labels(["SupContrast/SupConLoss"], 1.349021),
    *_labels(["google-research/supcon:inside"], 0.782782, **_COUNTED),
    *_labels(["solo-learn/simclr:labels"], 0.063461),
    *_labels([f"{_PML}NTXentLoss", "optax/ntxent"], 0.158960),
    *_labels(["google-research/supcon"], 0.141012, denominator="own_positive", **_COUNTED),
    *_labels(["google-research/supcon"], -2.834014, denominator="negatives", **_COUNTED),
    *_labels(
        ["tensorflow-addons/npairs_loss", "keras-io/supervised-contrastive-learning"], 2.488207
    ),
    Published(f"{_PML}NCALoss", {}, (X, LABELS), 0.699942),
    *_margins(
        [f"{_PML}TripletMarginLoss", f"{_ST}BatchAllTripletLoss"],
        {0.05: 0.075079, 0.2: 0.100459, 1.0: 0.450592, 5.0: 4.450592},
    ),
    *_margins(
        [
            f"{_PML}TripletMarginLoss:MeanReducer",
            "open-metric-learning/TripletLossWithMiner",
        ],
        {0.05: 0.001155, 0.2: 0.004637, 1.0: 0.450592, 5.0: 4.450592},
    ),
    *_margins([f"{_PML}TripletMarginLoss:BatchHardMiner"], {5.0: 4.760361}),
    *_margins(["tensorflow-addons/ContrastiveLoss"], {1.0: 0.183663}),
    *_margins(["siamese-triplet/ContrastiveLoss"], {1.0: 0.091831}),
    *_margins([f"{_ST}ContrastiveLoss"], {1.0: 0.091831}, distance="euclidean"),
    Published("optax/ntxent", {}, (OPTAX, [0, 0, 1, 1]), 14.01032, 5),
    Published("optax/ntxent", {}, (OPTAX, [0, 0, 0, 1]), 8.968544, 6),
    Published("optax/ntxent", {}, (OPTAX_ZERO, [0, 0, 1, 1]), 9.2889, 4),
]

# Both directions added up, of which each is a call: temperature and value.
MOCO_V3 = ((0.5, 2.174421), (0.1, 0.044065))
