"""Searches told as one plan: what is asked next depends on all that was answered.  `probes.Planned` runs them."""

from .descent import Settings, descent
from .questions import Move, Plan, Sum

__all__ = ["Move", "Plan", "Settings", "Sum", "descent"]
