"""Which noise: what a draw stands for."""

from .coordinate import Coordinate
from .dense import Dense
from .lowrank import LowRank
from .scaled import Scaled

__all__ = ["Coordinate", "Dense", "LowRank", "Scaled"]
