"""What a loss makes of its similarities: formulas over arrays, without tiles, masks or shifts."""

from nearfar.rules.hard_negatives import HardNegatives
from nearfar.rules.hardest_triplets import HardestTriplets
from nearfar.rules.lifted import LiftedAnchors, LiftedPairs
from nearfar.rules.margins import Hinge, NearOrApart
from nearfar.rules.pair_weights import Circles, MinedSums, TwoSums
from nearfar.rules.protocol import (
    Anchors,
    Met,
    Others,
    Pair,
    PartitionRule,
    Picked,
    QueryRule,
    Slopes,
    Sum,
    WithinRule,
)
from nearfar.rules.ranks import Ranks
from nearfar.rules.sigmoid import EachPair
from nearfar.rules.softmax import (
    HardOnePositive,
    HardOneWay,
    LogOver,
    OnePositive,
    OneWay,
    OneWayAndNorms,
    OverLogs,
    OwnPositive,
)
from nearfar.rules.triplets import MinedTriplets

__all__ = [
    "Anchors",
    "Circles",
    "EachPair",
    "HardNegatives",
    "HardOnePositive",
    "HardOneWay",
    "HardestTriplets",
    "Hinge",
    "LiftedAnchors",
    "LiftedPairs",
    "LogOver",
    "Met",
    "MinedSums",
    "MinedTriplets",
    "NearOrApart",
    "OnePositive",
    "OneWay",
    "OneWayAndNorms",
    "Others",
    "OverLogs",
    "OwnPositive",
    "Pair",
    "PartitionRule",
    "Picked",
    "QueryRule",
    "Ranks",
    "Slopes",
    "Sum",
    "TwoSums",
    "WithinRule",
]
