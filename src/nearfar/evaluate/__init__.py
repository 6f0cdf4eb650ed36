"""How a loss is computed in bounded memory; the only place that holds a tile."""

from nearfar.evaluate.options import Options
from nearfar.evaluate.partition import PartitionEvaluation
from nearfar.evaluate.protocol import Anchors, Pair, PartitionRule, RowRule, Slopes, Sum
from nearfar.evaluate.reduction import Reduction
from nearfar.evaluate.rows import RowEvaluation

__all__ = [
    "Anchors",
    "Options",
    "Pair",
    "PartitionEvaluation",
    "PartitionRule",
    "Reduction",
    "RowEvaluation",
    "RowRule",
    "Slopes",
    "Sum",
]
