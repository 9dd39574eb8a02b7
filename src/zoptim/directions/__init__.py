"""Which noise: what a draw stands for."""

from .dense import Dense

__all__ = ["Dense"]
