"""Implementations that take queries and keys, or two sides of pairs."""

from nearfar.losses import CLIP, InfoNCE, SigLIP
from nearfar.presets.record import Preset

_AS_IS = "One way: queries look for their keys among the keys of the batch."
_KEYS = "Queries and keys, (B, d) each, in the same order."
_SIDES = "The two sides, (B, d) each, in the same order."
_OUTSIDE = " Rows are not normalised inside: give it unit rows."
_QUEUE = "A queue of keys (K, d) takes the place of the batch's other keys."
_OWN_QUEUE = "Queries and keys (B, d) and a queue (K, d), which nearfar.queue.EmbeddingQueue keeps."
_ST = "sentence_transformers/sentence_transformer/losses/"

QUERIES = [
    Preset(
        name="info-nce-pytorch/InfoNCE",
        version="0.1.4",
        source="info_nce/__init__.py",
        loss=InfoNCE(temperature=0.1),
        differs=_AS_IS,
        traps=(
            "With negative_keys the other positives of the batch are no negatives.",
            'negative_mode "unpaired" (the default) takes (K, d), "paired" (B, K, d).',
        ),
        original="InfoNCE(temperature=0.1)(q, k)",
        call="loss(q, k)",
        inputs=_KEYS + " negative_keys is the third argument in either shape.",
        evidence="run",
    ),
    Preset(
        name="sentence-transformers/MultipleNegativesRankingLoss",
        version="6.2.0",
        source=_ST + "multiple_negatives_ranking.py",
        loss=InfoNCE(temperature=0.05),
        differs=_AS_IS,
        traps=(
            "temperature is 1 / scale.",
            "Given hard negatives are candidates beside the batch's documents: see "
            "MultipleNegativesRankingLoss:hard_negatives.",
        ),
        original="MultipleNegativesRankingLoss(model, scale=20)"
        ".compute_loss_from_embeddings([q, k], None)",
        call="loss(q, k)",
        inputs=_KEYS,
        evidence="run",
    ),
    Preset(
        name="sentence-transformers/MultipleNegativesRankingLoss:symmetric",
        version="6.2.0",
        source=_ST + "multiple_negatives_ranking.py",
        loss=CLIP(temperature=0.05),
        differs="The mean of both directions, as CLIP, of rows normalised inside.",
        traps=(
            "temperature is 1 / scale.",
            'It needs partition_mode="per_direction"; "joint" puts both directions into one sum.',
        ),
        original="MultipleNegativesRankingLoss(model, scale=20, directions=('query_to_doc', "
        "'doc_to_query'), partition_mode='per_direction')"
        ".compute_loss_from_embeddings([x, w], None)",
        call="loss(x, w)",
        inputs=_SIDES,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/SelfSupervisedLoss(NTXentLoss):one_way",
        version="2.9.0",
        source="pytorch_metric_learning/losses/self_supervised_loss.py",
        loss=InfoNCE(temperature=0.07),
        differs=_AS_IS,
        traps=("The other queries are no candidates, unlike with symmetric=True.",),
        original="SelfSupervisedLoss(NTXentLoss(temperature=0.07), symmetric=False)(q, k)",
        call="loss(q, k)",
        inputs=_KEYS,
        evidence="run",
    ),
    Preset(
        name="quaterion/MultipleNegativesRankingLoss",
        version="eedca53",
        source="quaterion/loss/multiple_negatives_ranking_loss.py",
        loss=InfoNCE(temperature=0.1),
        differs="Its similarity is (cos + 1) / 2: the temperature is 2 / scale, not 1 / scale.",
        traps=("The default scale of 20 is a temperature of 0.1.",),
        original="MultipleNegativesRankingLoss(scale=20)",
        call="loss(q, k)",
        inputs=_KEYS + " The pairs are given there as indices into one array.",
        evidence="calculated",
    ),
    Preset(
        name="MoCo",
        version="7397dfe",
        source="moco/builder.py",
        loss=InfoNCE(temperature=0.07),
        differs=_QUEUE,
        traps=(
            "The other keys of the batch are no negatives.",
            "Keys get no gradient, and are enqueued after the loss.",
        ),
        original="F.cross_entropy(*model(im_q, im_k))",
        call="loss(q, k, queue)",
        queue=True,
        inputs=_OWN_QUEUE,
    ),
    Preset(
        name="lightly/NTXentLoss:memory_bank",
        version="1.6.0",
        source="lightly/loss/ntx_ent_loss.py",
        loss=InfoNCE(temperature=0.5),
        differs=_QUEUE,
        traps=(
            "Only the first view's rows are queries.",
            "The second view is enqueued after the loss, and only if the first requires gradients.",
            "The bank is not saved with the model.",
        ),
        original="NTXentLoss(temperature=0.5, memory_bank_size=(K, d))(q, k)",
        call="loss(q, k, queue)",
        queue=True,
        inputs=_OWN_QUEUE,
        evidence="run",
    ),
    Preset(
        name="moco-v3",
        version="337f3c9",
        source="moco/builder.py",
        loss=InfoNCE(temperature=0.2, scale=2.0, scale_by="temperature"),
        differs="Multiplied by twice the temperature, and added up over the two directions.",
        traps=(
            "Keys come from the slow encoder and get no gradient.",
            "The factor falls with the temperature: values at two temperatures do not compare.",
        ),
        original="contrastive_loss(q1, k2) + contrastive_loss(q2, k1)",
        call="loss(q1, k2) + loss(q2, k1)",
        inputs="Queries and keys of both views, (B, d) each, in the same order.",
        evidence="calculated",
    ),
    Preset(
        name="solo-learn/mocov3",
        version="94e01eb",
        source="solo/losses/mocov3.py",
        loss=InfoNCE(temperature=1.0, scale=2.0, scale_by="temperature"),
        differs="Multiplied by twice the temperature, and added up over the two directions.",
        traps=("Its default temperature is 1, that of moco-v3 itself 0.2.",),
        original="mocov3_loss_func(q1, k2) + mocov3_loss_func(q2, k1)",
        call="loss(q1, k2) + loss(q2, k1)",
        inputs="Queries and keys of both views, (B, d) each, in the same order.",
    ),
    Preset(
        name="open_clip/ClipLoss",
        version="3.3.0",
        source="open_clip/loss.py",
        loss=CLIP(temperature=0.07, similarity="dot"),
        differs="It is the paper's, of rows that are normalised outside.",
        traps=(
            "temperature is 1 / logit_scale, which is learned and clamped at 100: pass it at the "
            "call.",
            "On W processes the default gives 1/W of the gradient, and local_loss without "
            "gather_with_grad another direction.",
        ),
        original="ClipLoss()(x, w, logit_scale=1 / 0.07)",
        call="loss(x, w)",
        inputs=_SIDES + _OUTSIDE,
        evidence="run",
    ),
    Preset(
        name="big_vision/softmax",
        version="d0cfe4c",
        source="big_vision/trainers/proj/image_text/contrastive.py",
        loss=CLIP(temperature=0.07, similarity="dot"),
        differs="It is the paper's, of rows that are normalised outside.",
        traps=("temperature is 1 / t there.",),
        original="bidirectional_contrastive_loss(x, w, t=1 / 0.07)",
        call="loss(x, w)",
        inputs=_SIDES + _OUTSIDE,
        evidence="calculated",
    ),
    Preset(
        name="keras-io/semisupervised_simclr",
        version="01aae9b",
        source="examples/vision/semisupervised_simclr.py",
        loss=CLIP(temperature=0.1),
        differs="It is CLIP's loss of two views, though it goes by the name of NT-Xent: rows of an "
        "anchor's own view are no negatives.",
        traps=(
            "It returns one value per pair: the mean is shown, and the gradient is the sum's.",
            "An embedding that is right for SimCLR meets half as many negatives here.",
        ),
        original="ContrastiveModel().contrastive_loss(a, b)",
        call="loss(a, b)",
        inputs="Two views, (B, d) each, in the same order.",
        evidence="calculated",
    ),
    Preset(
        name="open_clip/SigLipLoss",
        version="3.3.0",
        source="open_clip/loss.py",
        loss=SigLIP(temperature=0.1, bias=-10.0, similarity="dot"),
        differs="It is the paper's: a sum over texts and a mean over images.",
        traps=("logit_scale and logit_bias are learned: pass temperature and bias at the call.",),
        original="SigLipLoss()(x, w, logit_scale=10, logit_bias=-10)",
        call="loss(x, w)",
        inputs=_SIDES + _OUTSIDE,
        evidence="run",
    ),
    Preset(
        name="big_vision/sigmoid",
        version="642c086",
        source="big_vision/trainers/proj/image_text/siglip.py",
        loss=SigLIP(temperature=0.1, bias=-10.0, similarity="dot"),
        differs="It is the paper's: a sum over texts and a mean over images.",
        traps=("Temperature and bias are learned: pass them at the call.",),
        original="sigmoid_loss(x, w, t=10, b=-10)",
        call="loss(x, w)",
        inputs=_SIDES + _OUTSIDE,
    ),
]
