"""What a loss makes of its similarities: formulas over arrays, without tiles, masks or shifts."""

from nearfar.rules.at_once import AtOnceRule, Batch, Taken
from nearfar.rules.hard_negatives import HardNegatives
from nearfar.rules.hardest_triplets import HardestTriplets
from nearfar.rules.lifted import LiftedAnchors, LiftedPairs
from nearfar.rules.margins import Hinge, NearOrApart
from nearfar.rules.moments import CrossCorrelation, VarianceCovariance
from nearfar.rules.pair_weights import Circles, MinedSums, TwoSums
from nearfar.rules.protocol import (
    Anchors,
    Met,
    Others,
    Pair,
    PairRule,
    PartitionRule,
    Picked,
    QueryRule,
    Slopes,
    Sum,
    WithinRule,
)
from nearfar.rules.proxies import (
    AdditiveMargin,
    AnchoredProxies,
    AngularMargin,
    DistantProxies,
    PlainProxies,
    ProxyRule,
)
from nearfar.rules.ranks import Ranks
from nearfar.rules.scored_pairs import RankedPairs
from nearfar.rules.sigmoid import EachPair
from nearfar.rules.smooth_ap import SmoothRanks
from nearfar.rules.softmax import (
    HardOnePositive,
    HardOneWay,
    LogOver,
    OnePositive,
    OneWay,
    OneWayAndNorms,
    OverLogs,
    OwnPositive,
    SoftPositives,
)
from nearfar.rules.spread import Apart, Gaussians, Nearest
from nearfar.rules.triplets import MinedTriplets

__all__ = [
    "AdditiveMargin",
    "AnchoredProxies",
    "Anchors",
    "AngularMargin",
    "Apart",
    "AtOnceRule",
    "Batch",
    "Circles",
    "CrossCorrelation",
    "DistantProxies",
    "EachPair",
    "Gaussians",
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
    "Nearest",
    "OnePositive",
    "OneWay",
    "OneWayAndNorms",
    "Others",
    "OverLogs",
    "OwnPositive",
    "Pair",
    "PairRule",
    "PartitionRule",
    "Picked",
    "PlainProxies",
    "ProxyRule",
    "QueryRule",
    "RankedPairs",
    "Ranks",
    "Slopes",
    "SmoothRanks",
    "SoftPositives",
    "Sum",
    "Taken",
    "TwoSums",
    "VarianceCovariance",
    "WithinRule",
]
