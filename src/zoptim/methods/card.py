"""What every shelf entry shares: its card, and the checks of settings all of them have.

Not here: methods (one file a family beside this one) nor the shelf itself (`methods`).
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

from ..engine import Method
from ..schedules import SCHEDULES


class MethodCard(NamedTuple):
    """What `zoptim methods` tells of a shelf entry."""

    name: str
    make: Callable[..., Method]
    paper: str
    arxiv: str
    forwards: str
    memory: str
    journal: str
    summary: str


def hint(word: str, known: Any) -> str:
    """ ", did you mean ...?" or nothing."""
    close = get_close_matches(str(word), [str(k) for k in known], 1, 0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def checked(**settings: Any) -> None:
    """Refuse what no method can use: the error names the setting, its value and what would do."""
    for key, value in settings.items():
        if key in ("lr", "eps") and not (isinstance(value, int | float) and 0 < value < float("inf")):
            raise ValueError(f"{key}={value!r} must be a positive finite number")
        if key == "n" and not (isinstance(value, int) and 1 <= value < 1 << 24):
            raise ValueError(f"n={value!r} must be a whole number from 1")
        if key == "law" and value not in ("signs", "normal"):
            raise ValueError(f"law={value!r} must be 'signs' or 'normal'")
        if key == "schedule" and value not in SCHEDULES:
            raise ValueError(
                f"schedule={value!r} must be one of {', '.join(SCHEDULES)}{hint(value, SCHEDULES)}"
            )
        if key == "weight_decay" and not (isinstance(value, int | float) and 0 <= value < float("inf")):
            raise ValueError(f"weight_decay={value!r} must be a number from 0")
