"""Which noise: what a draw stands for."""

from .blocks import Blocks
from .coordinate import Coordinate, Rotating
from .curved import Curved, CurvedRowsCols
from .dense import Dense
from .lowrank import LowRank
from .masked import Small
from .remembered import Remembered
from .scaled import Scaled
from .sparse import Choosing, Chosen

__all__ = [
    "Blocks",
    "Choosing",
    "Chosen",
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
