"""Where to look: at which points is the objective asked."""

from .anchored import AnchoredProbe
from .conservative import Conservative
from .each import EachExample
from .onesided import OneSided
from .twosided import ThreePoint, TwoSided

__all__ = ["AnchoredProbe", "Conservative", "EachExample", "OneSided", "ThreePoint", "TwoSided"]
