"""How to move: a regenerated sum of directions into a tensor."""

from .gradient import Descent

__all__ = ["Descent"]
