"""What the answers weigh: losses to one number a draw, as a chain of small steps."""

from .difference import Central, Forward, Slopes
from .shaping import Chain, Clip, OverSpread

__all__ = ["Central", "Chain", "Clip", "Forward", "OverSpread", "Slopes"]
