"""A partition rule whose anchors meet more than their batch, and not all of it."""

from nearfar.evaluate.candidates.evaluation import CandidateEvaluation, Meeting

__all__ = ["CandidateEvaluation", "Meeting"]
