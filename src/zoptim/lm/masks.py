"""The weights a run has chosen to train (SensZOQ), as data of the run: positions in the journal's header.

They are chosen once, by `sensitivity`, and rebuilt from the header ever after.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..directions import Choosing, Chosen
from ..method import Method
from ..protocols import Slot


def chosen(method: Method, positions: Mapping[str, np.ndarray], slots: Sequence[Slot]) -> Method:
    """A method that chooses, with its choice made: positions by tensor name."""
    assert isinstance(method.directions, Choosing)
    by_id = {s.id: positions[s.name] for s in slots if s.name in positions}
    return replace(method, directions=Chosen(method.directions.inner, by_id))


def with_mask(method: Method, mask: Mapping[str, Any] | None, slots: Sequence[Slot]) -> Method:
    """A method with the choice a journal's header holds, where it has one."""
    if mask is None:
        return method
    return alone(method) if mask.get("held") else chosen(method, places(mask), slots)


def places(mask: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The choice a header holds: positions by tensor name."""
    return {name: unpack(p) for name, p in mask["positions"].items()}


def among(header: Mapping[str, Any], slots: Sequence[Slot]) -> dict[int, np.ndarray] | None:
    """The positions that a run of this header trains, by slot; None: all of them are."""
    mask = header["calibration"].get("mask")
    if mask is None or mask.get("held"):
        return None
    positions = places(mask)
    return {s.id: positions[s.name] for s in slots if s.name in positions}


def alone(method: Method) -> Method:
    """A method that chooses, where the chosen weights are parameters of their own: all of them move."""
    assert isinstance(method.directions, Chosen)
    return replace(method, directions=method.directions.inner)


def pack(positions: np.ndarray) -> dict[str, Any]:
    """Ascending positions as JSON: the gaps between them, compressed; about 2 bytes a position at density 0.001.

    Example:
        >>> unpack(pack(np.array([3, 4, 100_000])))
        array([     3,      4, 100000])
    """
    gaps = np.diff(positions, prepend=0)
    kind = "<u2" if gaps.max(initial=0) < 1 << 16 else "<u8"
    data = zlib.compress(gaps.astype(kind).tobytes(), 9)
    return {"count": len(positions), "kind": kind, "zlib": base64.b64encode(data).decode()}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    gaps = np.frombuffer(zlib.decompress(base64.b64decode(packed["zlib"])), packed["kind"])
    return np.cumsum(gaps.astype(np.int64))
