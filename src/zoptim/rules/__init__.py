"""How to move: a regenerated sum of directions into a tensor."""

from .floor import NonNegative
from .frank_wolfe import FrankWolfe, Sliding
from .gradient import Descent
from .mirror import Entropic, PNorm
from .moments import Adam, AmsGrad, Momentum
from .projected import Projected, ProjectedInMetric, Proximal
from .sign import SignDescent

__all__ = [
    "Adam", "AmsGrad", "Descent", "Entropic", "FrankWolfe", "Momentum", "NonNegative", "PNorm", "Projected",
    "ProjectedInMetric", "Proximal", "SignDescent", "Sliding",
]  # fmt: skip
