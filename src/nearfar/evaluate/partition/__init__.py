"""Partition losses: log-sum-exp over negatives and positives, tile by tile, in two passes."""

from nearfar.evaluate.partition.evaluation import PartitionEvaluation
from nearfar.evaluate.partition.sharded import strip

__all__ = ["PartitionEvaluation", "strip"]
