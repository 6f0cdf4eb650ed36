"""How a loss is computed in bounded memory; the only place that holds a tile."""

from nearfar.evaluate.options import Options
from nearfar.evaluate.partition import PartitionEvaluation
from nearfar.evaluate.queries import QueryEvaluation
from nearfar.evaluate.reduction import Reduction
from nearfar.evaluate.within import WithinEvaluation

__all__ = [
    "Options",
    "PartitionEvaluation",
    "QueryEvaluation",
    "Reduction",
    "WithinEvaluation",
]
