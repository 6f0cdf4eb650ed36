"""The space of conventions, in general forms: what a loss may be, published or mistaken."""

from nearfar.check.space.hard import Hard, hard_shapes
from nearfar.check.space.pairs import Pairs, pair_shapes
from nearfar.check.space.ranks import Ranks, rank_shapes
from nearfar.check.space.sigmoid import Sigmoid, sigmoid_shapes
from nearfar.check.space.softmax import POWERS, WHOLE, Softmax, softmax_shapes
from nearfar.check.space.stack import Stack
from nearfar.check.space.triplets import Triplets, triplet_shapes
from nearfar.check.space.view import Shape, View

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
