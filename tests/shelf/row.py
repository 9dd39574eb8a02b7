"""What the shelf promises of one entry: how it is made, its traits, what it must minimize."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from zoptim.method import Method
from zoptim.testing import Trial


class Row(NamedTuple):
    """What the shelf promises of one entry."""

    make: Callable[..., Method]
    traits: frozenset[str]
    trials: tuple[Trial, ...]
