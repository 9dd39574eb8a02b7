"""Sets and penalties: project, lmo, prox, contains, diameter; given to rules, imported by none of them."""

from .atoms import Birkhoff, KSupportBall
from .balls import L1Ball, L2Ball
from .box import Box, linf_ball
from .intersections import BallInBox, Intersection
from .linear import Affine, HalfSpace
from .lp import LpBall
from .matrices import NuclearBall, Spectrahedron
from .plain import from_plain, to_plain
from .regularizers import L1, ElasticNet, GroupL1, Nuclear
from .shape import Set
from .simplex import Simplex

__all__ = [
    "L1", "Affine", "BallInBox", "Birkhoff", "Box", "ElasticNet", "GroupL1", "HalfSpace", "Intersection", "KSupportBall",
    "L1Ball", "L2Ball", "LpBall", "Nuclear", "NuclearBall", "Set", "Simplex", "Spectrahedron", "from_plain",
    "linf_ball", "to_plain",
]  # fmt: skip
