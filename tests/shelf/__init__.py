"""Rows of the shelf test, a file a family."""

from __future__ import annotations

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
from .row import Row

__all__ = ["ROWS", "VARIANTS", "Row"]

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

ROWS: dict[str, Row] = {name: row for family in FAMILIES for name, row in family.ROWS.items()}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    name: variant for family in FAMILIES for name, variant in family.VARIANTS.items()
}
