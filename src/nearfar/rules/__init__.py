"""What a loss makes of its similarities: formulas over arrays, without tiles, masks or shifts."""

from nearfar.rules.hardest_triplets import HardestTriplets
from nearfar.rules.protocol import (
    Anchors,
    Others,
    Pair,
    PartitionRule,
    Picked,
    QueryRule,
    Slopes,
    Sum,
    WithinRule,
)
from nearfar.rules.softmax import LogOver, OnePositive, OneWay, OverLogs, OwnPositive
from nearfar.rules.triplets import MinedTriplets

__all__ = [
    "Anchors",
    "HardestTriplets",
    "LogOver",
    "MinedTriplets",
    "OnePositive",
    "OneWay",
    "Others",
    "OverLogs",
    "OwnPositive",
    "Pair",
    "PartitionRule",
    "Picked",
    "QueryRule",
    "Slopes",
    "Sum",
    "WithinRule",
]
