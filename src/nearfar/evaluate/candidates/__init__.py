"""A partition rule whose anchors meet more than their batch, and not all of it."""

from nearfar.evaluate.candidates.evaluation import CandidateEvaluation, Meeting
from nearfar.evaluate.candidates.graded import Grading

__all__ = ["CandidateEvaluation", "Grading", "Meeting"]
