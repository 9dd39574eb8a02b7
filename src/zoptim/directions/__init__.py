"""Which noise: what a draw stands for."""

from .blocks import Blocks
from .coordinate import Coordinate, Rotating
from .curved import Curved, CurvedRowsCols
from .dense import Dense
from .lowrank import LowRank
from .masked import Small
from .remembered import Remembered
from .scaled import Scaled

__all__ = [
    "Blocks",
    "Coordinate",
    "Curved",
    "CurvedRowsCols",
    "Dense",
    "LowRank",
    "Remembered",
    "Rotating",
    "Scaled",
    "Small",
]
