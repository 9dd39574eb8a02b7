"""Which noise: what a draw stands for."""

from .blocks import Blocks
from .coordinate import Coordinate, Rotating
from .dense import Dense
from .lowrank import LowRank
from .scaled import Scaled

__all__ = ["Blocks", "Coordinate", "Dense", "LowRank", "Rotating", "Scaled"]
