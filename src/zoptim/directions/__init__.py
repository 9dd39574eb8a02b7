"""Which noise: what a draw stands for."""

from .blocks import Blocks
from .coordinate import Coordinate, Rotating
from .curved import Curved, CurvedCentered, CurvedRowsCols
from .dense import Dense
from .either import Either
from .flips import Flips
from .lowrank import LowRank
from .masked import Small
from .members import Members
from .remembered import Remembered
from .sampled import Distinct, Sampled
from .scaled import Scaled
from .simplex import L1Sphere
from .sparse import Choosing, Chosen
from .spherical import Spherical, UnitSphere
from .stretched import Stretched
from .subspace import Subspace
from .tangent import Tangent

__all__ = [
    "Blocks",
    "Choosing",
    "Chosen",
    "Coordinate",
    "Curved",
    "CurvedCentered",
    "CurvedRowsCols",
    "Dense",
    "Distinct",
    "Either",
    "Flips",
    "L1Sphere",
    "LowRank",
    "Members",
    "Remembered",
    "Rotating",
    "Sampled",
    "Scaled",
    "Small",
    "Spherical",
    "Stretched",
    "Subspace",
    "Tangent",
    "UnitSphere",
]
