"""A partition rule whose anchors meet more than their batch, and not all of it."""

from nearfar.evaluate.candidates.evaluation import CandidateEvaluation, Meeting, Threshold

__all__ = ["CandidateEvaluation", "Meeting", "Threshold"]
