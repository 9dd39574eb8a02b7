"""What the answers weigh: losses to one number a draw, as a chain of small steps."""

from .anchored import Anchored
from .best import Best
from .curvature import Curvature
from .difference import Central, CentralSlopes, Exact, Forward, Slopes
from .hessian import HessianTimes
from .onepoint import OnePoint, Residual
from .pairs import PastPairs
from .ranks import CenteredRanks
from .running import OverRunning
from .shaping import Chain, Clip, OverReusedSpread, OverSpread
from .softmin import SoftMin
from .zscored import PerExample, ZScored

__all__ = [
    "Anchored",
    "Best",
    "CenteredRanks",
    "Central",
    "CentralSlopes",
    "Chain",
    "Clip",
    "Curvature",
    "Exact",
    "Forward",
    "HessianTimes",
    "OnePoint",
    "OverReusedSpread",
    "OverRunning",
    "OverSpread",
    "PastPairs",
    "PerExample",
    "Residual",
    "Slopes",
    "SoftMin",
    "ZScored",
]  # fmt: skip
