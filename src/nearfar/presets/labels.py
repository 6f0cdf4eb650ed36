"""Implementations of the softmax family that take rows and labels, or rows and numbers."""

from nearfar.losses import SupCon, SupCR
from nearfar.presets.record import UNRECORDED, Preset

_ROWS = "Rows (n, d) and labels (n,), as they are."
_STACKED = (
    "Views are stacked: z = f.swapaxes(0, 1).reshape(2 * B, d) has the first views, then the "
    "second, and y is the labels twice. Rows are not normalised inside: give it unit rows."
)
_PAIRS = "Each positive pair has a denominator of its own, and the mean is over pairs."

LABELS = [
    Preset(
        name="pytorch-metric-learning/SupConLoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/supcon_loss.py",
        loss=SupCon(temperature=0.1),
        differs="An anchor without positives is left out of the mean, where the paper has none.",
        traps=(
            "Every anchor whose loss is 0 or less is dropped from the mean, so a batch learned to "
            "rounding has another mean.",
        ),
        original="SupConLoss(temperature=0.1)(z, y)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/NTXentLoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/ntxent_loss.py",
        loss=SupCon(temperature=0.07, denominator="own_positive", average="pairs"),
        differs=_PAIRS,
        traps=(
            "Memory grows with the cube of the batch.",
            "With ref_emb the row itself is left out only if ref_labels is the same object.",
        ),
        original="NTXentLoss(temperature=0.07)(z, y)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="pytorch-metric-learning/NCALoss",
        version="2.9.0",
        source="pytorch_metric_learning/losses/nca_loss.py",
        loss=SupCon(temperature=1.0, similarity="neg_sqeuclidean", positives="log_sum"),
        differs="The logarithm of the probability of the own class, not the probability itself.",
        traps=(
            "Every anchor whose loss is 0 or less is dropped from the mean.",
            "temperature is 1 / softmax_scale.",
        ),
        original="NCALoss(softmax_scale=1)(z, y)",
        call="loss(z / np.linalg.norm(z, axis=1, keepdims=True), y)",
        inputs=_ROWS + " The original normalises them; squared distances need unit rows here.",
        evidence="run",
    ),
    Preset(
        name="optax/ntxent",
        version="0.2.8",
        source="optax/losses/_self_supervised.py",
        loss=SupCon(temperature=0.07, denominator="own_positive", average="pairs"),
        differs=_PAIRS,
        traps=("A batch without any positive pair is 0/0.",),
        original="optax.losses.ntxent(z, y, temperature=0.07)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="run",
    ),
    Preset(
        name="SupContrast/SupConLoss",
        version="66a8fe5",
        source="losses.py",
        loss=SupCon(
            temperature=0.07,
            similarity="dot",
            without_positives="zero",
            scale=1 / 0.07,
            scale_by="temperature",
        ),
        differs="Multiplied by temperature / base_temperature, which is 1 at the defaults only.",
        traps=(
            "Changing temperature alone changes the factor: base_temperature stays 0.07.",
            "Before December 2023 an anchor without positives made the loss NaN.",
        ),
        original="SupConLoss(temperature=0.07)(f, y)",
        call="loss(z, y)",
        inputs=_STACKED,
        evidence="calculated",
    ),
    Preset(
        name="SupContrast/SupConLoss:base_temperature=temperature",
        version="66a8fe5",
        source="losses.py",
        loss=SupCon(temperature=0.07, similarity="dot", without_positives="zero"),
        differs="An anchor without positives counts as 0 in the mean.",
        traps=("base_temperature has to be given whenever temperature is.",),
        original="SupConLoss(temperature=0.07, base_temperature=0.07)(f, y)",
        call="loss(z, y)",
        inputs=_STACKED,
        evidence="calculated",
    ),
    Preset(
        name="google-research/supcon",
        version="0c1bbe5f",
        source="supcon/losses.py",
        loss=SupCon(
            temperature=1.0, similarity="dot", without_positives="zero", scale_by="temperature"
        ),
        differs="Multiplied by the temperature unless scale_by_temperature=False.",
        traps=(
            "With a single view the sum over positives is divided by their number twice.",
            'summation_location INSIDE is positives="log_mean"; denominator_mode ONE_POSITIVE is '
            'denominator="own_positive", ONLY_NEGATIVES is "negatives".',
            "It returns a vector, of which Keras takes the mean.",
        ),
        original="contrastive_loss(f, labels, temperature=1.0)",
        call="loss(z, y)",
        inputs=_STACKED,
        evidence="calculated",
    ),
    Preset(
        name="google-research/supcon:inside",
        version="0c1bbe5f",
        source="supcon/losses.py",
        loss=SupCon(
            temperature=1.0,
            similarity="dot",
            positives="log_mean",
            without_positives="zero",
            scale_by="temperature",
        ),
        differs="The paper's L_in, multiplied by the temperature.",
        traps=("With a single view the sum over positives is divided by their number twice.",),
        original='contrastive_loss(f, labels, temperature=1.0, summation_location="inside")',
        call="loss(z, y)",
        inputs=_STACKED,
        evidence="calculated",
    ),
    Preset(
        name="google-research/StableRep",
        version=UNRECORDED,
        source="StableRep, its MultiPosConLoss",
        loss=SupCon(temperature=0.1, without_positives="zero"),
        differs="An anchor without positives counts as 0 in the mean.",
        original="MultiPosConLoss(temperature=0.1)(outputs)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="calculated",
    ),
    Preset(
        name="solo-learn/simclr:labels",
        version="b5a2b05",
        source="solo/losses/simclr.py",
        loss=SupCon(temperature=0.1, positives="log_sum"),
        differs="The logarithm of the sum over the positives (as NCA), not the mean of logarithms.",
        traps=("One anchor without positives makes the original infinite; here it is left out.",),
        original="simclr_loss_func(z, indexes=y, temperature=0.1)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="calculated",
    ),
    Preset(
        name="tensorflow-addons/npairs_loss",
        version="0900a36",
        source="tensorflow_addons/losses/npairs.py",
        loss=SupCon(temperature=1.0, similarity="dot", include_self="positive"),
        differs="Called on rows against themselves, each row is one of its own positives.",
        traps=("Chance level is log(n), and the least value is far above 0.",),
        original="npairs_loss(y, z @ z.T / temperature)",
        call="loss(z, y)",
        inputs=_ROWS + " The temperature divides the logits there, outside of the function.",
        evidence="calculated",
    ),
    Preset(
        name="keras-io/supervised-contrastive-learning",
        version="048d90a",
        source="examples/vision/supervised-contrastive-learning.py",
        loss=SupCon(temperature=1.0, include_self="positive"),
        differs="Built on npairs_loss, each row is one of its own positives.",
        traps=(
            "Chance level is log(n), not log(n - 1).",
            "The example trains at temperature 0.05.",
        ),
        original="SupervisedContrastiveLoss(temperature=1)(y, z)",
        call="loss(z, y)",
        inputs=_ROWS,
        evidence="calculated",
    ),
    Preset(
        name="Rank-N-Contrast/RnCLoss",
        version="eca433b",
        source="loss.py",
        loss=SupCR(temperature=2.0),
        differs="It is the paper's, with ties in the denominator.",
        traps=("Memory is that of n x n x d differences.",),
        original='RnCLoss(temperature=2, label_diff="l1", feature_sim="l2")(f, t)',
        call="loss(z, t)",
        inputs="Views are stacked: z = f.swapaxes(0, 1).reshape(2 * B, d) has the first views, "
        "then the second, and t is the targets twice.",
    ),
]
