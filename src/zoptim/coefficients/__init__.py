"""What the answers weigh: losses to one number a draw, as a chain of small steps."""

from .accelerated import Accelerated
from .anchored import Anchored
from .averaged import Averaged, Coordinates, Refined, Unbiased
from .best import Best
from .curvature import Curvature
from .decided import Decided
from .difference import Central, CentralSlopes, Exact, Forward, Slopes
from .hessian import HessianTimes
from .kicked import Kicked
from .levels import Levels
from .onepoint import OnePoint, Residual
from .pairs import PastPairs
from .players import Carried, Opposed
from .ranks import CenteredRanks
from .recursive import Storm, Svrg, Tracker
from .repeated import Repeated
from .running import OverRunning
from .saddle import Escape
from .shaping import Chain, Clip, OverReusedSpread, OverSpread, Votes
from .softmin import SoftMin
from .table import Table
from .zscored import PerExample, ZScored

__all__ = [
    "Accelerated",
    "Anchored",
    "Averaged",
    "Best",
    "Carried",
    "CenteredRanks",
    "Central",
    "CentralSlopes",
    "Chain",
    "Clip",
    "Coordinates",
    "Curvature",
    "Decided",
    "Escape",
    "Exact",
    "Forward",
    "HessianTimes",
    "Kicked",
    "Levels",
    "OnePoint",
    "Opposed",
    "OverReusedSpread",
    "OverRunning",
    "OverSpread",
    "PastPairs",
    "PerExample",
    "Refined",
    "Repeated",
    "Residual",
    "Slopes",
    "SoftMin",
    "Storm",
    "Svrg",
    "Table",
    "Tracker",
    "Unbiased",
    "Votes",
    "ZScored",
]
