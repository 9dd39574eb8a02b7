"""How to move: a regenerated sum of directions into a tensor."""

from .by_slot import BySlot
from .floor import NonNegative
from .frank_wolfe import FrankWolfe, Sliding
from .gradient import Descent
from .mirror import Entropic, PNorm
from .moments import Adam, AmsGrad, Momentum
from .projected import Projected, ProjectedInMetric, Proximal
from .retracted import Retracted
from .sign import SignDescent

__all__ = [
    "Adam",
    "AmsGrad",
    "BySlot",
    "Descent",
    "Entropic",
    "FrankWolfe",
    "Momentum",
    "NonNegative",
    "PNorm",
    "Projected",
    "ProjectedInMetric",
    "Proximal",
    "Retracted",
    "SignDescent",
    "Sliding",
]
