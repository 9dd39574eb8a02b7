"""Where to look: at which points is the objective asked."""

from .onesided import OneSided
from .twosided import TwoSided

__all__ = ["OneSided", "TwoSided"]
