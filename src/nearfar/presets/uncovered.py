"""Implementations that no loss here states yet, and why."""

from nearfar.presets.record import UNRECORDED, Preset

_PML = "2.9.0"
_ST = "6.2.0"
_PML_FOLDER = "pytorch_metric_learning/losses/"
_ST_FOLDER = "sentence_transformers/sentence_transformer/losses/"
_NO_LOSS = "nearfar has no {} loss"

_ROWS = [
    (
        "sentence-transformers/BatchHardTripletLoss",
        _ST,
        _ST_FOLDER + "batch_hard_triplet.py",
        "an anchor without positives counts with a positive distance of 0, one without negatives "
        "with its farthest row; without such anchors it is BatchTriplet(margin=5, mining='hard')",
    ),
    (
        "sentence-transformers/OnlineContrastiveLoss",
        _ST,
        _ST_FOLDER + "online_contrastive.py",
        "it adds up pairs that are chosen by the hardest of the other kind",
    ),
    (
        "pytorch-metric-learning/ContrastiveLoss",
        _PML,
        _PML_FOLDER + "contrastive_loss.py",
        "distances are not squared, and positive and negative pairs that violate have a mean each",
    ),
    (
        "lightly/DCLWLoss",
        "1.6.0",
        "lightly/loss/dcl_loss.py",
        "each positive has a weight, 2 - B softmax(similarity / sigma) over the batch, detached",
    ),
    (
        "lightly/HypersphereLoss",
        "1.6.0",
        "lightly/loss/hypersphere_loss.py",
        "Alignment of the views and Uniformity of each, which are called with other inputs: "
        "add their values",
    ),
    (
        "tensorflow-similarity/MultiNegativesRankLoss",
        "0.17",
        "tensorflow_similarity/losses/multinegrank_loss.py",
        "its denominator has 1 added; InfoNCE(similarity='dot') equals it when each query is given "
        "its negatives (B, K, d) with a row of zeros among them",
    ),
    (
        "tensorflow-similarity/SoftNearestNeighborLoss",
        "0.17",
        "tensorflow_similarity/losses/softnn_loss.py",
        "1e-9 inside the logarithm bounds the loss; without it SupCon(positives='log_sum', "
        "without_positives='zero')",
    ),
    (
        "tensorflow-similarity/TripletLoss",
        "0.17",
        "tensorflow_similarity/losses/triplet_loss.py",
        "its semi-hard threshold is the farthest positive, with the easiest negative in need",
    ),
    (
        "tensorflow-similarity/CircleLoss",
        "0.17",
        "tensorflow_similarity/losses/circle_loss.py",
        "it adds up log(1 + sum) of the positives and of the negatives, each by itself, where "
        "the paper multiplies the two sums inside one logarithm",
    ),
    (
        "quaterion/TripletLoss",
        "96e8c76",
        "quaterion/loss/triplet_loss.py",
        "its semi-hard mining compares pairs of different anchors, and its hard mining divides by "
        "the mean hardest negative",
    ),
    (
        "quaterion/CircleLoss",
        "26b4cf5",
        "quaterion/loss/circle_loss.py",
        "its exponents are other than the paper's",
    ),
    (
        "TinyZeaMays/CircleLoss",
        UNRECORDED,
        "circle_loss.py",
        "one logarithm over all pairs of the batch, where Circle has one for each anchor",
    ),
    (
        "Revisiting_DML/NPair",
        UNRECORDED,
        "criteria/npair.py",
        "its anchors are drawn by a miner, each with negatives of its own",
    ),
    (
        "Revisiting_DML/Lifted",
        UNRECORDED,
        "criteria/lifted.py",
        "Lifted() of the anchors that its miner draws, and a pull on the rows' norms (not "
        "squared), which Lifted has not",
    ),
    (
        "align_uniform/align_loss+uniform_loss",
        UNRECORDED,
        "align_uniform/__init__.py",
        "Alignment of the views and Uniformity of each, which are called with other inputs: "
        "add their values",
    ),
    (
        "open-metric-learning/TripletLossPlain:soft",
        "4",
        "oml/losses/triplet.py",
        "log(1 + exp(d_ap - d_an)) in place of the margin; " + _NO_LOSS.format("soft triplet"),
    ),
    (
        "tensorflow-similarity/LiftedStructLoss",
        "0.17",
        "tensorflow_similarity/losses/lifted_structure_loss.py",
        "it takes the hardest positive only, and its log of 1 + sum is halved and not squared",
    ),
    (
        "tensorflow-similarity/VicReg",
        "0.17",
        "tensorflow_similarity/losses/vicreg.py",
        "its variances are of a batch that may be standardised before, and each part is "
        "divided by other numbers",
    ),
    (
        "tensorflow-similarity/Barlow",
        "0.17",
        "tensorflow_similarity/losses/barlow.py",
        "each view is standardised without an eps, and the parts are added up for both orders "
        "of the views",
    ),
]

UNCOVERED = [
    Preset(name=name, version=version, source=source, loss=None, reason=reason)
    for name, version, source, reason in _ROWS
]
