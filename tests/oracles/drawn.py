"""Losses drawn from the space of conventions, as plain loops, each with what it should be called.

Written from the words of the issue trackers, not from the search: nothing here is shared with it.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Drawn:
    """A function with a temperature or a margin, and its right name."""

    kind: str
    fn: object
    loss: str
    fields: dict
    scale: float
    changes: tuple = ()  # a word of each

    def named_by(self, statement):
        """Whether a statement of nearfar says this and nothing else."""
        loss = statement.loss
        # A factor of temperature is a change where the loss has no field for it.
        changes = [c for c in statement.changes if not c.startswith("the factor is")]
        if type(loss).__name__ != self.loss or len(changes) != len(self.changes):
            return False
        if not all(any(word in c for c in changes) for word in self.changes):
            return False
        scale = loss.scale
        if getattr(loss, "scale_by", "constant") == "temperature":
            scale *= loss.temperature
        close = abs(scale - self.scale) <= 1e-6 * abs(self.scale)
        return close and all(_same(getattr(loss, k), v) for k, v in self.fields.items())


def _same(found, wanted):
    return abs(found - wanted) < 1e-6 if isinstance(wanted, float) else found == wanted


def draw(seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["views", "labels", "labels", "targets", "targets", "queue", "triplets",
                       "mined", "pairs"])  # fmt: skip
    return {"views": _views, "labels": _labels, "targets": _targets, "queue": _queue,
            "triplets": _triplets, "mined": _mined, "pairs": _pairs}[str(kind)](rng)  # fmt: skip


def pick(rng, *values):
    return values[rng.integers(len(values))]


def _similar(name, x, y):
    if name == "cosine":
        return float(x @ y) / math.sqrt(float(x @ x)) / math.sqrt(float(y @ y))
    if name == "dot":
        return float(x @ y)
    square = float(((x - y) ** 2).sum())
    return -math.sqrt(square) if name == "neg_euclidean" else -square


def _similarity(rng):
    return pick(rng, "cosine", "cosine", "dot", "neg_euclidean", "neg_sqeuclidean")


def _factor(rng, temperature):
    """The factor's value, and a function of the temperature."""
    kind = pick(rng, "one", "one", "two", "half", "minus", "tau")
    constant = {"one": 1.0, "two": 2.0, "half": 0.5, "minus": -1.0, "tau": 1.0}[kind]
    if kind == "tau":
        return constant * temperature, lambda t: t
    return constant, lambda t: constant


def _use(rng, known):
    """How the temperature is used: a word for it, and the divisor."""
    how = pick(rng, "once", "once", "once", "twice", "unused") if known else "once"
    words = {"once": (), "twice": ("used twice",), "unused": ("not used",)}[how]
    return words, lambda t: {"once": t, "twice": t * t, "unused": 1.0}[how]


def _with_temperature(rng, loop):
    """A function that takes the temperature, or has it as a constant."""
    known = bool(rng.integers(2))
    t = float(pick(rng, 0.1, 0.2, 0.5, 0.8))
    words, use = _use(rng, known)
    scale, factor = _factor(rng, t)
    if known:

        def fn(*arrays, temperature=t):
            return factor(temperature) * loop(use(temperature), *arrays)

        return fn, t, words, scale
    return (lambda *arrays: factor(t) * loop(t, *arrays)), t, words, scale


def _views(rng):
    name, other = _similarity(rng), bool(rng.integers(2))
    first, negatives = bool(rng.integers(2)), pick(rng, False, False, True)
    in_own = not other and pick(rng, False, False, True)
    total = pick(rng, False, False, True)

    def loop(t, a, b):
        z, n = [*a, *b], len(a)
        losses = []
        for i in range(n if first else 2 * n):
            p = (i + n) % (2 * n)
            below = 0.0
            for k in range(2 * n):
                if (k == i and not in_own) or (other and (k < n) == (i < n)):
                    continue
                if not (negatives and k == p):
                    below += math.exp(_similar(name, z[i], z[k]) / t)
            losses.append(math.log(below) - _similar(name, z[i], z[p]) / t)
        return sum(losses) if total else sum(losses) / len(losses)

    fn, t, words, scale = _with_temperature(rng, loop)
    fields = {"similarity": name, "temperature": t, "reduction": "sum" if total else "mean"}
    if other:
        loss = "InfoNCE" if first else "CLIP"
        scale *= 2 if total and not first else 1  # a pair's term is the mean of its two
        words += ("left out",) if negatives else ()
    else:
        loss = "NTXent"
        fields |= {"include_self": in_own, "anchors": "first" if first else "both"}
        fields["denominator"] = "negatives" if negatives else "all"
    return Drawn("views", _plain(fn, 2), loss, fields, scale, words)


def _takes(fn):
    return bool(fn.__kwdefaults__)


def _named(fn, count):
    """With parameters that have names, as people write them."""
    t = fn.__kwdefaults__["temperature"]
    if count == 2:
        return lambda x, y, temperature=t: fn(x, y, temperature=temperature)
    return lambda x, y, z, temperature=t: fn(x, y, z, temperature=temperature)


def _plain(fn, count):
    if _takes(fn):
        return _named(fn, count)
    return (lambda x, y: fn(x, y)) if count == 2 else (lambda x, y, z: fn(x, y, z))


def _labels(rng):
    name, denominator = _similarity(rng), pick(rng, "all", "own_positive", "negatives")
    own = pick(rng, "no", "no", "denominator", "positive")
    over = pick(rng, "mean_log", "mean_log", "sum_log", "log_mean", "log_sum")
    average = pick(rng, "skip", "zero", "sum", "pairs")
    again = own == "no" and denominator == "all" and pick(rng, False, True)
    if average == "pairs":
        over = "sum_log"
    if own == "positive" and average == "zero":
        average = "skip"  # then every anchor has a positive

    def loop(t, z, labels):
        n = len(z)
        s = [[_similar(name, z[i], z[k]) / t for k in range(n)] for i in range(n)]
        values, pairs = [], 0
        for i in range(n):
            positives = [
                k for k in range(n)
                if labels[k] == labels[i] and (k != i or own == "positive")
            ]  # fmt: skip
            negatives = [k for k in range(n) if labels[k] != labels[i]]
            if not positives:
                continue
            terms = []
            for p in positives:
                inside = list(negatives)
                if denominator == "all":
                    inside += positives + ([p] if again else [])
                elif denominator == "own_positive":
                    inside += [p]
                if own == "denominator":
                    inside += [i]
                terms.append(math.log(sum(math.exp(s[i][k]) for k in inside)) - s[i][p])
            pairs += len(terms)
            if over == "mean_log":
                values.append(sum(terms) / len(terms))
            elif over == "sum_log":
                values.append(sum(terms))
            else:
                inner = sum(math.exp(-x) for x in terms)
                values.append(-math.log(inner / (len(terms) if over == "log_mean" else 1)))
        counts = {"skip": len(values), "zero": n, "sum": 1, "pairs": pairs}
        return sum(values) / counts[average]

    fn, t, words, scale = _with_temperature(rng, loop)
    fields = {
        "similarity": name, "temperature": t, "positives": over,
        "include_self": {"no": False, "denominator": True, "positive": "positive"}[own],
        "reduction": "sum" if average == "sum" else "mean",
        "average": "pairs" if average == "pairs" else "anchors",
    }  # fmt: skip
    if average == "pairs":
        fields["positives"] = "mean_log"
    if average == "zero":
        fields["without_positives"] = "zero"
    if not again:
        fields["denominator"] = denominator
    words += ("count twice",) if again else ()
    return Drawn("labels", _plain(fn, 2), "SupCon", fields, scale, words)


def _targets(rng):
    name, order = _similarity(rng), pick(rng, ">=", ">=", "<=", ">")
    diagonal, reduction = bool(rng.integers(2)), pick(rng, "mean", "mean", "sum", "pairs")

    def loop(t, z, targets):
        n = len(z)
        values = []
        for i in range(n):
            terms = []
            for j in range(n):
                if i == j and not diagonal:
                    continue
                apart = abs(targets[i] - targets[j])
                below = 0.0
                for k in range(n):
                    if k == i and not diagonal:
                        continue
                    far = abs(targets[i] - targets[k])
                    if {">=": far >= apart, "<=": far <= apart, ">": far > apart}[order] or (
                        k == j
                    ):
                        below += math.exp(_similar(name, z[i], z[k]) / t)
                terms.append(math.log(below) - _similar(name, z[i], z[j]) / t)
            values.append(terms)
        if reduction == "pairs":
            return sum(map(sum, values))
        means = [sum(terms) / len(terms) for terms in values]
        return sum(means) / (1 if reduction == "sum" else n)

    fn, t, words, scale = _with_temperature(rng, loop)
    words += ("diagonal",) if diagonal else ()
    words += ("ties",) if order == ">" else ()
    words += ("all pairs are summed",) if reduction == "pairs" else ()
    fields = {"similarity": name, "temperature": t, "order": "nearer" if order == "<=" else
              "farther", "reduction": "sum" if reduction == "sum" else "mean"}  # fmt: skip
    return Drawn("targets", _plain(fn, 2), "SupCR", fields, scale, words)


def _queue(rng):
    name, negatives = _similarity(rng), pick(rng, False, False, True)
    keys, total = pick(rng, False, False, True), pick(rng, False, True)

    def loop(t, query, key, queue):
        losses = []
        for i in range(len(query)):
            own = _similar(name, query[i], key[i]) / t
            below = sum(math.exp(_similar(name, query[i], x) / t) for x in queue)
            below += 0 if negatives else math.exp(own)
            if keys:
                below += sum(
                    math.exp(_similar(name, query[i], key[k]) / t)
                    for k in range(len(key)) if k != i
                )  # fmt: skip
            losses.append(math.log(below) - own)
        return sum(losses) / (1 if total else len(losses))

    fn, t, words, scale = _with_temperature(rng, loop)
    words += ("left out",) if negatives else ()
    fields = {"similarity": name, "temperature": t, "reduction": "sum" if total else "mean"}
    fields["in_batch"] = "always" if keys else "without_negatives"
    return Drawn("queue", _plain(fn, 3), "InfoNCE", fields, scale, words)


def _apart(name, x, y):
    if name == "cosine":
        return 1 - _similar("cosine", x, y)
    return {"euclidean": -_similar("neg_euclidean", x, y),
            "sqeuclidean": -_similar("neg_sqeuclidean", x, y),
            "cityblock": float(np.abs(x - y).sum())}[name]  # fmt: skip


def _margin(rng):
    return float(pick(rng, 0.3, 0.5, 1.0)), pick(rng, 1.0, 1.0, 2.0, -1.0)


def _triplets(rng):
    name, (margin, factor) = pick(rng, "euclidean", "sqeuclidean", "cityblock"), _margin(rng)
    total, soft = pick(rng, False, True), pick(rng, False, False, True)

    def fn(anchor, positive, negative):
        losses = []
        for x, y, w in zip(anchor, positive, negative, strict=True):
            u = _apart(name, x, y) - _apart(name, x, w)
            losses.append(math.log1p(math.exp(u)) if soft else max(0.0, u + margin))
        return factor * sum(losses) / (1 if total else len(losses))

    fields = {"distance": name, "reduction": "sum" if total else "mean"}
    fields |= {} if soft else {"margin": margin}
    return Drawn("triplets", fn, "Triplet", fields, factor, ("softplus",) if soft else ())


def _mined(rng):
    name, (margin, factor) = pick(rng, "euclidean", "sqeuclidean", "cityblock"), _margin(rng)
    mining, count = pick(rng, "all", "hard"), pick(rng, "active", "all", "sum")

    def fn(embeddings, labels):
        n, losses = len(embeddings), []
        d = [[_apart(name, x, y) for y in embeddings] for x in embeddings]
        for i in range(n):
            positives = [d[i][k] for k in range(n) if k != i and labels[k] == labels[i]]
            negatives = [d[i][k] for k in range(n) if labels[k] != labels[i]]
            if mining == "hard" and positives and negatives:
                losses.append(max(positives) - min(negatives) + margin)
            elif mining == "all":
                losses += [p - q + margin for p in positives for q in negatives]
        active = sum(x > 0 for x in losses) if mining == "all" else len(losses)
        number = {"active": active, "all": len(losses), "sum": 1}[count]
        return factor * sum(max(0.0, x) for x in losses) / number

    fields = {"distance": name, "margin": margin, "mining": mining,
              "reduction": "sum" if count == "sum" else "mean"}  # fmt: skip
    if mining == "all" and count != "sum":
        fields["count"] = count
    return Drawn("labels", fn, "BatchTriplet", fields, factor)


def _pairs(rng):
    name, (margin, factor) = pick(rng, "euclidean", "cityblock"), _margin(rng)

    def fn(embeddings, labels):
        n, total = len(embeddings), 0.0
        for i in range(n):
            for k in range(i):
                apart = _apart(name, embeddings[i], embeddings[k])
                off = apart if labels[i] == labels[k] else max(0.0, margin - apart)
                total += 0.5 * off * off
        return factor * total / (n * (n - 1) / 2)

    fields = {"distance": name, "margin": margin}
    return Drawn("labels", fn, "PairMargin", fields, factor)
