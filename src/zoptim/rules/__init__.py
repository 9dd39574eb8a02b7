"""How to move: a regenerated sum of directions into a tensor."""

from .floor import NonNegative
from .frank_wolfe import FrankWolfe
from .gradient import Descent
from .moments import Adam, AmsGrad, Momentum
from .projected import Projected, ProjectedInMetric, Proximal
from .sign import SignDescent

__all__ = [
    "Adam", "AmsGrad", "Descent", "FrankWolfe", "Momentum", "NonNegative", "Projected", "ProjectedInMetric", "Proximal",
    "SignDescent",
]  # fmt: skip
