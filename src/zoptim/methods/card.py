"""What every shelf entry shares: its card, and the checks of settings all of them have.

Not here: methods (one file a family beside this one) nor the shelf itself (`methods`).
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

from ..method import Method
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


POSITIVE = ("lr", "eps", "boost", "zeta", "temperature")
WHOLE = ("n", "d", "components", "block", "keep", "period", "sample")
BELOW_ONE = ("beta", "beta1", "beta2", "sparsity")
CHOICES = {
    "law": ("signs", "normal"),
    "sides": ("one", "two"),
    "schedule": tuple(SCHEDULES),
    "mask": ("auto", "gradient", "activations", "magnitude", "random"),
}


def checked(**settings: Any) -> None:
    """Refuse what no method can use: the error names the setting, its value and what would do."""
    for key, value in settings.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in POSITIVE and not (number and 0 < value < float("inf")):
            raise ValueError(f"{key}={value!r} must be a positive finite number")
        if key in WHOLE and not (number and isinstance(value, int) and 1 <= value < 1 << 24):
            raise ValueError(f"{key}={value!r} must be a whole number from 1, below {1 << 24}")
        if key in BELOW_ONE and not (number and 0 <= value < 1):
            raise ValueError(f"{key}={value!r} must be a number from 0, below 1")
        if key == "density" and not (number and 0 < value <= 1):
            raise ValueError(f"density={value!r} must be a number above 0, up to 1")
        if key == "alpha" and not (number and 0 <= value <= 1):
            raise ValueError(f"alpha={value!r} must be a number from 0 to 1")
        if key == "weight_decay" and not (number and 0 <= value < float("inf")):
            raise ValueError(f"weight_decay={value!r} must be a number from 0")
        if key in CHOICES and value not in CHOICES[key]:
            known = (
                " or ".join(map(repr, CHOICES[key])) if key == "law" else "one of " + ", ".join(CHOICES[key])
            )
            raise ValueError(f"{key}={value!r} must be {known}{hint(value, CHOICES[key])}")
