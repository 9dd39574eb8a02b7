"""Searches told as one plan: what is asked next depends on all that was answered.  `probes.Planned` runs them."""

from .descent import Settings, descent
from .questions import Move, Plan, Sum
from .simplex import Weights, simplex
from .spectral import Land, spectral

__all__ = ["Land", "Move", "Plan", "Settings", "Sum", "Weights", "descent", "simplex", "spectral"]
