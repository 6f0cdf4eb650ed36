"""Implementations whose anchors meet other rows than their batch, or not all of it."""

from typing import Any

from nearfar.losses import CLIP, Exclude, InfoNCE, SupCon
from nearfar.presets.record import UNRECORDED, Preset

_ST = "sentence_transformers/sentence_transformer/losses/"
_PML = "pytorch_metric_learning/losses/"
_OWN = (
    "Queries and documents (B, d) and K hard negatives of each query, (B, K, d); there K columns."
)
_GUIDED = (
    "Rows (B, d), hard negatives (B, 1, d), and the guide's embeddings of the same rows, frozen."
)
_REFERENCE = "Rows (n, d), labels (n,), and a labelled set (m, d) that they are compared with."
_NOBODY = (
    "ref_labels that are the labels themselves, the same object, leave out row i of the reference."
)
_ALL: dict[str, Any] = {"in_batch": "always", "own": "all"}
_RANKING = "losses.MultipleNegativesRankingLoss(model, scale=20{}).compute_loss_from_embeddings("
_WAYS = ", directions=('query_to_doc', 'query_to_query', 'doc_to_query', 'doc_to_doc')"


def _gist(kind: str) -> Preset:
    relative = kind == "relative"
    directions = ("qp", "qq", "pp")
    exclude = Exclude(by="guide", margin=0.05 if relative else 0.0, kind=kind)
    below: dict[str, tuple[str, ...]] = {
        "absolute": (),
        "relative": (
            "Before June 2026 the threshold was positive * (1 - margin), which lies above a "
            "positive of negative similarity.",
        ),
    }
    return Preset(
        name="sentence-transformers/GISTEmbedLoss" + (":relative" if relative else ""),
        version="6.2.0",
        source=_ST + "gist_embed.py",
        loss=InfoNCE(temperature=0.01, directions=directions, exclude=exclude, **_ALL),
        differs="One sum over documents, other queries and other documents, less those that the "
        "guide finds nearer than the pair" + (", by a share of it." if relative else "."),
        traps=(
            "A row meets itself unless the rule leaves it out, so a margin below 0 may keep it.",
            "The temperature is 0.01, a fifth of the package's other losses.",
            *below[kind],
        ),
        original="GISTEmbedLoss(model, guide"
        + (", margin_strategy='relative', margin=0.05" if relative else "")
        + ")(features, None)",
        call="loss(q, k, n, guide=(gq, gk, gn))",
        queue=True,
        inputs=_GUIDED,
        evidence="run",
    )


def _retrieval(name: str, traps: tuple[str, ...], call: str, **how: Any) -> Preset:
    return Preset(
        name=f"tensorflow-recommenders/{name}",
        version="0.7.7",
        source="tensorflow_recommenders/tasks/retrieval.py",
        loss=InfoNCE(temperature=1.0, similarity="dot", reduction="sum"),
        differs="One way, of dot products, and a sum over the queries, not their mean.",
        traps=traps,
        call=call,
        inputs="Queries and candidates, (B, d) each, in the same order.",
        **how,
    )


CANDIDATES = [
    Preset(
        name="sentence-transformers/MultipleNegativesRankingLoss:hard_negatives",
        version="6.2.0",
        source=_ST + "multiple_negatives_ranking.py",
        loss=InfoNCE(temperature=0.05, **_ALL),
        differs="One way: every query among all documents and the hard negatives of all queries.",
        traps=(
            "temperature is 1 / scale.",
            "Hard negatives serve every query: own='mine' is DPR's other reading of the words.",
        ),
        original=_RANKING.format("") + "[q, k, *n.unbind(1)], None)",
        call="loss(q, k, n)",
        queue=True,
        inputs=_OWN,
        evidence="run",
    ),
    Preset(
        name="sentence-transformers/MultipleNegativesRankingLoss:all_directions",
        version="6.2.0",
        source=_ST + "multiple_negatives_ranking.py",
        loss=InfoNCE(temperature=0.05, directions=("qp", "qq", "pq", "pp", "pn"), **_ALL),
        differs="One sum over the four directions of GTE, in which the positive stands twice: it "
        "is not NT-Xent.",
        traps=(
            "temperature is 1 / scale.",
            "doc_to_doc has hard negatives of the other queries too, the direction 'pn' here.",
        ),
        original=_RANKING.format(_WAYS) + "[q, k, *n.unbind(1)], None)",
        call="loss(q, k, n)",
        queue=True,
        inputs=_OWN,
        evidence="run",
    ),
    _gist("absolute"),
    _gist("relative"),
    Preset(
        name="Qwen3-Embedding",
        version="arXiv 2506.05176",
        source="section 3",
        loss=InfoNCE(
            temperature=0.05,
            in_batch="always",
            directions=("qp", "qq", "pp"),
            exclude=Exclude(by="self", margin=-0.1),
        ),
        differs="One sum over documents, hard negatives, other queries and other documents, less "
        "those that are more than 0.1 nearer than the pair.",
        traps=(
            "No training code is public; the temperature is not that of a release.",
            "Documents that equal the pair's are left out as well: give ids for that.",
        ),
        original="the paper's improved contrastive loss",
        call="loss(q, k, n)",
        queue=True,
        inputs="Queries and documents (B, d), and each query's own hard negatives (B, K, d).",
    ),
    Preset(
        name="UniCL",
        version=UNRECORDED,
        source="arXiv 2204.03610, eq. 2 to 4",
        loss=CLIP(temperature=0.07, similarity="dot", scale=2.0),
        differs="Both directions are added, where CLIP takes their mean.",
        traps=(
            "Pairs without a class want an id of their own, or all of them are one class.",
            "Its repository does not hold the training on pairs: this is the paper's.",
        ),
        original="the paper's bidirectional loss",
        call="loss(x, w, ids)",
        inputs="The two sides, unit rows (B, d), and the class of each pair, (B,).",
    ),
    Preset(
        name="pytorch-metric-learning/SupConLoss:ref_emb",
        version="2.9.0",
        source=_PML + "supcon_loss.py",
        loss=SupCon(temperature=0.1),
        differs="Candidates are the reference alone; an anchor without positives is left out.",
        traps=(_NOBODY, "Every anchor whose loss is 0 or less is dropped from the mean."),
        original="SupConLoss(temperature=0.1)(z, y, ref_emb=r, ref_labels=yr)",
        call="loss(z, y, r, yr)",
        queue=True,
        inputs=_REFERENCE,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/NTXentLoss:ref_emb",
        version="2.9.0",
        source=_PML + "ntxent_loss.py",
        loss=SupCon(temperature=0.07, denominator="own_positive", average="pairs"),
        differs="Candidates are the reference alone; the mean is over pairs.",
        traps=(_NOBODY, "Memory grows with the cube of the batch."),
        original="NTXentLoss(temperature=0.07)(z, y, ref_emb=r, ref_labels=yr)",
        call="loss(z, y, r, yr)",
        queue=True,
        inputs=_REFERENCE,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/CrossBatchMemory(SupConLoss)",
        version="2.9.0",
        source=_PML + "cross_batch_memory.py",
        loss=SupCon(temperature=0.1, candidates="both"),
        differs="Candidates are the memory and the batch, which it pushes before the loss.",
        traps=(
            "The batch's rows are constants where they are candidates: same value, and a part of "
            "the gradient is missing.",
            "With enqueue_mask candidates are the memory alone, and masked rows are no anchors.",
            "Memories of other authors are filled after the loss, as MoCo's.",
        ),
        original="CrossBatchMemory(SupConLoss(temperature=0.1), d, memory_size=m)(z, y)",
        call="loss(z, y, r, yr)",
        queue=True,
        inputs="Rows (n, d), labels (n,), and the memory before this batch, which "
        "nearfar.queue.EmbeddingQueue(labels=True) keeps.",
        evidence="run",
    ),
    _retrieval(
        "Retrieval",
        (
            "The temperature is 1 unless it is given, and rows are not normalised.",
            "num_hard_negatives keeps the largest logits only, which no field states.",
        ),
        "loss(q, k)",
        original="Retrieval()(q, k)",
    ),
    _retrieval(
        "Retrieval:remove_accidental_hits",
        (
            "keras-rs 0.4 has a layer of this name that adds 1e-40 to those logits, which leaves "
            "them in.",
            "The probability is taken off positives too, after the temperature.",
        ),
        "loss(q, k, ids=ids, log_q=np.log(probability))",
        original="Retrieval(remove_accidental_hits=True)(q, k, candidate_ids=ids, "
        "candidate_sampling_probability=probability)",
        evidence="calculated",
    ),
]
