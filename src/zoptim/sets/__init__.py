"""Sets and penalties: project, lmo, prox, contains, diameter; given to rules, imported by none of them."""

from .balls import L1Ball, L2Ball
from .box import Box, linf_ball
from .shape import Set
from .simplex import Simplex

__all__ = ["Box", "L1Ball", "L2Ball", "Set", "Simplex", "linf_ball"]
