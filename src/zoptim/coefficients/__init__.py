"""What the answers weigh: losses to one number a draw, as a chain of small steps."""

from .anchored import Anchored
from .best import Best
from .curvature import Curvature
from .difference import Central, Exact, Forward, Slopes
from .pairs import PastPairs
from .running import OverRunning
from .shaping import Chain, Clip, OverReusedSpread, OverSpread
from .zscored import PerExample, ZScored

__all__ = [
    "Anchored",
    "Best",
    "Central",
    "Chain",
    "Clip",
    "Curvature",
    "Exact",
    "Forward",
    "OverReusedSpread",
    "OverRunning",
    "OverSpread",
    "PastPairs",
    "PerExample",
    "Slopes",
    "ZScored",
]  # fmt: skip
