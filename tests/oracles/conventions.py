"""Every meaningful combination of the losses' fields, as keyword dictionaries."""

from itertools import product

SIMILARITIES = ("cosine", "dot", "neg_euclidean", "neg_sqeuclidean")
DENOMINATORS = ("all", "own_positive", "negatives")
REDUCTIONS = ("mean", "sum", "none")
# The mean over pairs is a mean of logarithms: it goes with "mean_log" alone.
POSITIVES = (
    ("mean_log", "anchors"),
    ("mean_log", "pairs"),
    ("sum_log", "anchors"),
    ("log_mean", "anchors"),
    ("log_sum", "anchors"),
)

SUPCON = [
    {
        "similarity": similarity,
        "denominator": denominator,
        "positives": positives,
        "average": average,
        "include_self": include_self,
        "without_positives": without_positives,
    }
    for similarity, denominator, (positives, average), include_self, without_positives in product(
        SIMILARITIES, DENOMINATORS, POSITIVES, (False, True), ("skip", "zero")
    )
]
# An anchor that is its own positive: its own logit has a gradient under "dot", none under "cosine".
SUPCON += [
    {
        "similarity": similarity,
        "denominator": denominator,
        "positives": positives,
        "average": average,
        "include_self": "positive",
    }
    for similarity, denominator, (positives, average) in product(
        ("cosine", "dot"), DENOMINATORS, POSITIVES
    )
]
NTXENT = [
    {"similarity": similarity, "denominator": denominator, "include_self": include_self}
    for similarity, denominator, include_self in product(SIMILARITIES, DENOMINATORS, (False, True))
]
NTXENT += [
    {"similarity": similarity, "denominator": denominator, "anchors": "first"}
    for similarity, denominator in product(("cosine", "dot"), ("all", "negatives"))
]
INFONCE = CLIP = SIGLIP = DCL = [{"similarity": similarity} for similarity in SIMILARITIES]
HCL = [
    {
        "similarity": similarity,
        "tau_plus": tau_plus,
        "beta": beta,
        "detach_weights": detach_weights,
    }
    for similarity, (tau_plus, beta), detach_weights in product(
        SIMILARITIES, ((0.1, 1.0), (0.0, 1.0), (0.1, 0.0), (0.0, 0.0), (0.3, 0.5)), (False, True)
    )
]
SUPCR = [
    {"similarity": similarity, "order": order, "label_distance": label_distance}
    for similarity, order, label_distance in product(
        SIMILARITIES, ("farther", "nearer"), ("l1", "l2")
    )
]
# Hamming too is a distance, but a constant almost everywhere: it has no formula to differentiate.
DISTANCES = ("euclidean", "sqeuclidean", "cityblock", "chebyshev", "minkowski", "cosine")
TRIPLET = PAIRMARGIN = [{"distance": distance} for distance in DISTANCES]
# Where triplets are picked one by one the mean is over all of them.
MINING = (
    ("all", "active"),
    ("all", "all"),
    ("hard", "active"),
    ("semihard", "active"),
    ("all_semihard", "active"),
    ("all_semihard", "all"),
)
BATCHTRIPLET = [
    {
        "mining": mining,
        "distance": distance,
        "count": count,
        "without_positives": without_positives,
    }
    for (mining, count), distance, without_positives in product(MINING, DISTANCES, ("skip", "zero"))
]
MULTISIMILARITY = [
    {"similarity": similarity, "mining": mining, "without_positives": without_positives}
    for similarity, mining, without_positives in product(
        SIMILARITIES, (False, 0.1), ("count", "skip", "zero")
    )
]
CIRCLE = [
    {"similarity": similarity, "detach": detach, "average": average, "gamma": 4.0}
    for similarity, detach, average in product(SIMILARITIES, (True, False), ("active", "anchors"))
]
LIFTED = [{"distance": distance, "form": "pairs"} for distance in DISTANCES]
LIFTED += [
    {"distance": distance, "without_positives": without_positives}
    for distance, without_positives in product(DISTANCES, ("skip", "zero", "count"))
]
NPAIR = [{"l2": l2} for l2 in (0.0, 0.02)]
SMOOTHAP = [
    {"similarity": similarity, "count_self": count_self, "temperature": 0.1}
    for similarity, count_self in product(SIMILARITIES, (False, True))
]
KOLEO = [{}, {"eps": 1e-3}]
UNIFORMITY = [{}, {"t": 30.0}]
ALIGNMENT = [{}, {"alpha": 1.0}]
VICREG = [{}, {"invariance": 1.0, "variance": 3.0, "covariance": 0.5, "eps": 0.1}]
BARLOWTWINS = [{}, {"off_diagonal": 0.5, "eps": 0.1}]
COSENT = ANGLE = [{}, {"temperature": 0.5}]
PROXYNCA = NORMALIZEDSOFTMAX = [{}, {"temperature": 0.5}]
COSFACE = ARCFACE = [{}, {"temperature": 0.5, "margin": 0.2}]
SOFTTRIPLE = [{}, {"temperature": 0.5, "gamma": 0.4, "margin": 0.2}]
PROXYANCHOR = [{}, {"alpha": 4.0, "margin": 0.3}]
WORDS = (
    "similarity",
    "mining",
    "distance",
    "count",
    "denominator",
    "positives",
    "order",
    "label_distance",
    "reduction",
)


def name(fields) -> str:
    """Test id: the values, self, zero and detached only where they are set."""
    words = [fields[key] for key in WORDS if key in fields]
    words += [f"{key} {fields[key]}" for key in ("tau_plus", "beta") if key in fields]
    words += ["pairs"] if fields.get("average") == "pairs" else []
    words += ["self"] if fields.get("include_self") else []
    words += ["positive"] if fields.get("include_self") == "positive" else []
    words += ["first"] if fields.get("anchors") == "first" else []
    words += ["zero"] if fields.get("without_positives") == "zero" else []
    words += ["detached"] if fields.get("detach_weights") else []
    return "-".join(words)


SOFTCONTRASTIVE = [
    {"normalise": normalise, "similarity": similarity}
    for normalise, similarity in product(("row", "positives", "none"), SIMILARITIES)
]
