"""Which noise: what a draw stands for."""

from .coordinate import Coordinate
from .dense import Dense
from .scaled import Scaled

__all__ = ["Coordinate", "Dense", "Scaled"]
