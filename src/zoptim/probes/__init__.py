"""Where to look: at which points is the objective asked."""

from .anchored import AnchoredProbe
from .conservative import Conservative
from .each import EachExample
from .entry import Entry
from .levels import Levels
from .onepoint import OnePoint, Residual
from .onesided import OneSided
from .planned import Planned
from .players import Ahead, Carried, InTurn, Together
from .recursive import Recursive
from .repeated import Repeated
from .saddle import Saddle
from .slopes import Tangents
from .twosided import ThreePoint, TwoSided

__all__ = [
    "Ahead",
    "AnchoredProbe",
    "Carried",
    "Conservative",
    "EachExample",
    "Entry",
    "InTurn",
    "Levels",
    "OnePoint",
    "OneSided",
    "Planned",
    "Recursive",
    "Repeated",
    "Residual",
    "Saddle",
    "Tangents",
    "ThreePoint",
    "Together",
    "TwoSided",
]
