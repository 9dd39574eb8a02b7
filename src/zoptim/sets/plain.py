"""Sets and penalties as plain data, for a method's arguments in a journal, and back: the same numbers, bit for bit.

    to_plain(L1Ball(2.0))  ->  {"set": "L1Ball", "radius": 2.0, "center": 0.0}

Infinite bounds become the strings "inf" and "-inf", which JSON can hold.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from . import atoms, balls, box, intersections, linear, lp, matrices, regularizers, simplex
from .regularizers import Penalty
from .shape import Set

KINDS: dict[str, Any] = {
    name: kind
    for module in (atoms, balls, box, intersections, linear, lp, matrices, regularizers, simplex)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Set | Penalty) and kind not in (Set, Penalty, balls.Ball)
}


def to_plain(of: Set | Penalty) -> dict[str, Any]:
    """A set or penalty of this package as numbers, strings, lists and dicts.

    Raises:
        ValueError: a set of another's making.

    Example:
        >>> to_plain(box.Box(0.0, [1.0, np.inf]))
        {'set': 'Box', 'low': 0.0, 'high': [1.0, 'inf']}
    """
    name = type(of).__name__
    if KINDS.get(name) is not type(of):
        raise ValueError(f"set={of!r} is none of zoptim.sets: it cannot be written into a journal")
    return {"set": name, **{f.name: _down(getattr(of, f.name)) for f in fields(of) if f.init}}  # type: ignore[arg-type]


def from_plain(data: dict[str, Any]) -> Any:
    """What `to_plain` wrote, made again.

    Raises:
        ValueError: no such set; values that make none.
    """
    values = dict(data)
    name = values.pop("set", None)
    if name not in KINDS:
        raise ValueError(f"set={name!r} must be one of {', '.join(sorted(KINDS))}")
    kind = KINDS[name]
    if values.keys() != {f.name for f in fields(kind) if f.init}:
        raise ValueError(f"set={name!r} takes {', '.join(f.name for f in fields(kind) if f.init)}")
    return kind(**{key: _up(value) for key, value in values.items()})


def _down(value: Any) -> Any:
    if isinstance(value, Set):
        return to_plain(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_down(one) for one in value]
    return str(value) if value in (np.inf, -np.inf) else value


def _up(value: Any) -> Any:
    if isinstance(value, dict):
        return from_plain(value)
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return tuple(_up(one) for one in value)
    if isinstance(value, list):
        return [_up(one) for one in value]
    return float(value) if isinstance(value, str) else value
