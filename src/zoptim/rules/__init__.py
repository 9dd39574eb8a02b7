"""How to move: a regenerated sum of directions into a tensor."""

from .by_slot import BySlot
from .floor import NonNegative
from .gradient import Descent
from .moments import Adam, AmsGrad, Momentum
from .retracted import Retracted
from .sign import SignDescent

__all__ = ["Adam", "AmsGrad", "BySlot", "Descent", "Momentum", "NonNegative", "Retracted", "SignDescent"]
