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
NTXENT = [
    {"similarity": similarity, "denominator": denominator, "include_self": include_self}
    for similarity, denominator, include_self in product(SIMILARITIES, DENOMINATORS, (False, True))
]
INFONCE = [{"similarity": similarity} for similarity in SIMILARITIES]


def name(fields) -> str:
    """Test id: the values, self and zero only where they are set."""
    words = [fields["similarity"]]
    words += [fields[key] for key in ("denominator", "positives", "reduction") if key in fields]
    words += ["pairs"] if fields.get("average") == "pairs" else []
    words += ["self"] if fields.get("include_self") else []
    words += ["zero"] if fields.get("without_positives") == "zero" else []
    return "-".join(words)
