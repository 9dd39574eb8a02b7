"""Which noise: what a draw stands for."""

from .coordinate import Coordinate
from .curved import Curved, CurvedRowsCols
from .dense import Dense
from .lowrank import LowRank
from .remembered import Remembered
from .scaled import Scaled

__all__ = ["Coordinate", "Curved", "CurvedRowsCols", "Dense", "LowRank", "Remembered", "Scaled"]
