"""Losses that need all logits of an anchor at once: one pass over blocks of rows."""

from nearfar.evaluate.rows.evaluation import RowEvaluation
from nearfar.evaluate.rows.in_batch import InBatchEvaluation
from nearfar.evaluate.rows.queries import QueryEvaluation
from nearfar.evaluate.rows.sides import SidesEvaluation

__all__ = ["InBatchEvaluation", "QueryEvaluation", "RowEvaluation", "SidesEvaluation"]
