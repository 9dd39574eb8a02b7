"""The shelf: one short function a paper, each a composition of tested parts; a file a family.

To read what a method does, read its function: directions, probe, coefficients, rule.  Costs are a step's:
forwards, memory beside the weights, and journal bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..engine import Method
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
from .card import MethodCard, hint
from .lowrank import lozo
from .plain import mezo
from .stepsize import fzoo

__all__ = ["SHELF", "MethodCard", "build", "fzoo", "hint", "lozo", "mezo"]

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

SHELF: Mapping[str, MethodCard] = {card.name: card for family in FAMILIES for card in family.CARDS}


def build(name: str, settings: Mapping[str, Any]) -> Method:
    """A method by name; unknown names and settings are refused with the closest known one.

    Example:
        >>> build("fzoo", {"n": 4}).probe.forwards
        5
    """
    if name not in SHELF:
        raise ValueError(f"method={name!r} is not on the shelf{hint(name, SHELF)}; see `zoptim methods`")
    known = inspect.signature(SHELF[name].make).parameters
    for key in settings:
        if key not in known:
            raise ValueError(f"{name} has no setting {key!r} (it has {', '.join(known)}){hint(key, known)}")
    return SHELF[name].make(**settings)
