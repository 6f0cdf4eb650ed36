"""The space of conventions, in general forms: what a loss may be, published or mistaken."""

from nearfar.check.identity.space.every import shapes_for
from nearfar.check.identity.space.hard import Hard
from nearfar.check.identity.space.pairs import Pairs
from nearfar.check.identity.space.ranks import Ranks
from nearfar.check.identity.space.sigmoid import Sigmoid
from nearfar.check.identity.space.softmax import HALVES, WHOLE, Softmax
from nearfar.check.identity.space.stack import Stack
from nearfar.check.identity.space.stated import NORMALISED, OWN, Stated
from nearfar.check.identity.space.triplets import Triplets
from nearfar.check.identity.space.view import Shape, View

__all__ = [
    "HALVES",
    "NORMALISED",
    "OWN",
    "WHOLE",
    "Hard",
    "Pairs",
    "Ranks",
    "Shape",
    "Sigmoid",
    "Softmax",
    "Stack",
    "Stated",
    "Triplets",
    "View",
    "shapes_for",
]
