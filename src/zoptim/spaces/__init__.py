"""Where parameters live: a numpy vector (`flat`), a torch module (`module`, imported on demand)."""

from .flat import Flat

__all__ = ["Flat"]
