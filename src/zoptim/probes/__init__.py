"""Where to look: at which points is the objective asked."""

from .anchored import AnchoredProbe
from .conservative import Conservative
from .each import EachExample
from .onepoint import OnePoint, Residual
from .onesided import OneSided
from .slopes import Tangents
from .twosided import ThreePoint, TwoSided

__all__ = [
    "AnchoredProbe",
    "Conservative",
    "EachExample",
    "OnePoint",
    "OneSided",
    "Residual",
    "Tangents",
    "ThreePoint",
    "TwoSided",
]
