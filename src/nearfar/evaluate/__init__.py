"""How a loss is computed in bounded memory; the only place that holds a tile."""

from nearfar.evaluate.candidates import CandidateEvaluation, Grading, Meeting
from nearfar.evaluate.composed import ComposedEvaluation, Part
from nearfar.evaluate.partition.evaluation import PartitionEvaluation
from nearfar.evaluate.rows.at_once import AtOnceEvaluation
from nearfar.evaluate.rows.in_batch import InBatchEvaluation
from nearfar.evaluate.rows.proxies import ProxyEvaluation
from nearfar.evaluate.rows.queries import QueryEvaluation
from nearfar.evaluate.rows.sides import SidesEvaluation
from nearfar.evaluate.settings import Options, Reduction, without_kernels
from nearfar.evaluate.threshold import Threshold

__all__ = [
    "AtOnceEvaluation",
    "CandidateEvaluation",
    "ComposedEvaluation",
    "Grading",
    "InBatchEvaluation",
    "Meeting",
    "Options",
    "Part",
    "PartitionEvaluation",
    "ProxyEvaluation",
    "QueryEvaluation",
    "Reduction",
    "SidesEvaluation",
    "Threshold",
    "without_kernels",
]
