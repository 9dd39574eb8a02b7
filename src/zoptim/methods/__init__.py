"""The shelf: one short function a paper, each a composition of tested parts; a file a family.

To read what a method does, read its function: directions, probe, coefficients, rule.  Costs are a step's:
forwards, memory beside the weights, and journal bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..method import Method
from . import (
    accelerated,
    bilevel,
    blocks,
    curvature,
    finite,
    frank_wolfe,
    hybrid,
    lowrank,
    minimax,
    mirror,
    moments,
    plain,
    planned,
    population,
    quantized,
    riemannian,
    saddle,
    smooth,
    sparse,
    stepsize,
    variance,
)
from .card import MethodCard, hint
from .lowrank import lozo
from .plain import mezo
from .stepsize import fzoo

__all__ = ["BLACK_BOXES", "PLACES", "SHELF", "MethodCard", "build", "fzoo", "hint", "lozo", "mezo"]

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

PLACES = (riemannian, minimax, bilevel)  # need a space of their own
ELSEWHERE = (
    accelerated,
    finite,
    frank_wolfe,
    mirror,
    saddle,
    planned,
    *PLACES,
)  # keep vectors, know where they are, or those

SHELF: Mapping[str, MethodCard] = {card.name: card for family in FAMILIES for card in family.CARDS}
BLACK_BOXES: Mapping[str, MethodCard] = {card.name: card for family in ELSEWHERE for card in family.CARDS}


def build(name: str, settings: Mapping[str, Any]) -> Method:
    """A method by name; unknown names and settings are refused with the closest known one.

    Example:
        >>> build("fzoo", {"n": 4}).probe.forwards
        5
    """
    cards = {**SHELF, **BLACK_BOXES}
    if name not in cards:
        raise ValueError(f"method={name!r} is not on the shelf{hint(name, cards)}; see `zoptim methods`")
    known = inspect.signature(cards[name].make).parameters
    for key in settings:
        if key not in known:
            raise ValueError(f"{name} has no setting {key!r} (it has {', '.join(known)}){hint(key, known)}")
    needed = [key for key, p in known.items() if p.default is p.empty and key not in settings]
    if needed:
        raise ValueError(f"{name} needs the setting {needed[0]}")
    return cards[name].make(**settings)
