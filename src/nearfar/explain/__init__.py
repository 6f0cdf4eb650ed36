"""What a loss does with a batch: chance, positives and negatives, faults, who pulls how hard."""

from nearfar.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
