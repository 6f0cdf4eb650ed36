"""The space of conventions, in general forms: what a loss may be, published or mistaken."""

from nearfar.check.identity.space.hard import Hard, hard_shapes
from nearfar.check.identity.space.pairs import Pairs, pair_shapes
from nearfar.check.identity.space.ranks import Ranks, rank_shapes
from nearfar.check.identity.space.sigmoid import Sigmoid, sigmoid_shapes
from nearfar.check.identity.space.softmax import POWERS, WHOLE, Softmax, softmax_shapes
from nearfar.check.identity.space.stack import Stack
from nearfar.check.identity.space.triplets import Triplets, triplet_shapes
from nearfar.check.identity.space.view import Shape, View

__all__ = [
    "POWERS",
    "WHOLE",
    "Hard",
    "Pairs",
    "Ranks",
    "Shape",
    "Sigmoid",
    "Softmax",
    "Stack",
    "Triplets",
    "View",
    "hard_shapes",
    "pair_shapes",
    "rank_shapes",
    "sigmoid_shapes",
    "softmax_shapes",
    "triplet_shapes",
]
