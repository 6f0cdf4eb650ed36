"""Circle loss, Sun et al. 2020, arXiv 2002.10857 eq. 6, with O_p = 1 + m and O_n = -m.

loss(i) = softplus( LSE over negatives of gamma [s + m]_+ (s - m)
                  + LSE over positives of -gamma [1 + m - s]_+ (s - 1 + m) )

The brackets are held (detached) or differentiated too: `brackets_at` is where they are taken. An
anchor without positives or without negatives has the loss 0 and does not count.
"""

from oracles.candidates import among, reduced
from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus
from oracles.supcon import share_label


def circle(
    embeddings,
    labels,
    reference=None,
    reference_labels=None,
    *,
    margin=0.4,
    gamma=80.0,
    similarity="cosine",
    average="active",
    candidates="reference",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
    detach=True,
    brackets_at=None,
):
    """`average`: over the anchors with a loss above 0 ("active"), or all that count ("anchors").
    `detach` says what a gradient is, and nothing of the value."""
    measure = SIMILARITIES[similarity]
    n = len(embeddings)
    rows, names, first = among(embeddings, labels, reference, reference_labels, candidates)
    held = rows if brackets_at is None else brackets_at
    losses, counts = [], []
    for i in range(n):
        s = [measure(embeddings[i], row) for row in rows]
        h = [measure(held[i], row) for row in held]
        compared = [j for j in range(first, len(rows)) if j != i]
        same = [j for j in compared if share_label(labels[i], names[j])]
        others = [j for j in compared if j not in same]
        push = [gamma * max(0.0, h[j] + margin) * (s[j] - margin) for j in others]
        pull = [-gamma * max(0.0, 1 + margin - h[j]) * (s[j] - 1 + margin) for j in same]
        loss = softplus(log_sum_exp(push) + log_sum_exp(pull)) if push and pull else 0.0
        losses.append(scale * loss)
        counts.append(loss > 0 if average == "active" else bool(push and pull))
    return reduced(losses, counts, sample_weight, reduction)
