"""The obvious editions: what the papers print, line by line, in numpy.  Slow, and meant to be read; a file a family.

Each takes (f, x0) and the settings of the method of the same name and returns the trajectory
(steps + 1, d).  Only the noise z comes from the package: z is named by (key, t, i, slot).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import (
    blocks,
    curvature,
    hybrid,
    lowrank,
    moments,
    plain,
    population,
    quantized,
    smooth,
    sparse,
    stepsize,
    variance,
)
from .lowrank import lozo
from .plain import mezo
from .stepsize import fzoo

__all__ = ["EDITIONS", "fzoo", "lozo", "mezo"]

FAMILIES = (
    plain,
    smooth,
    stepsize,
    moments,
    curvature,
    lowrank,
    sparse,
    variance,
    blocks,
    quantized,
    population,
    hybrid,
)

EDITIONS: dict[str, Callable[..., Any]] = {
    name: edition for family in FAMILIES for name, edition in family.EDITIONS.items()
}
