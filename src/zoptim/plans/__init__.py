"""Searches told as one plan: what is asked next depends on all that was answered.  `probes.Planned` runs them."""

from .descent import Settings, descent
from .questions import Clip, Move, Plan, Sum
from .spectral import spectral

__all__ = ["Clip", "Move", "Plan", "Settings", "Sum", "descent", "spectral"]
