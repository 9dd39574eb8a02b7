"""Measured units as data of a run: one positive number a trained element, kept in the journal's header.

They are measured once, by `calibrate`, and rebuilt from the header ever after.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..directions import Scaled
from ..method import Method
from ..protocols import Directions, Slot


def scaled(directions: Directions, scales: dict[str, np.ndarray], slots: Sequence[Slot]) -> Directions:
    """Directions in the measured units."""
    return (
        Scaled(directions, {s.id: scales[s.name] for s in slots if s.name in scales})
        if scales
        else directions
    )


def with_scales(method: Method, packed: dict[str, Any], slots: Sequence[Slot]) -> Method:
    """A method in the units a journal's header holds."""
    scales = {name: unpack(value) for name, value in packed.items()}
    return replace(method, directions=scaled(method.directions, scales, slots)) if scales else method


def pack(values: np.ndarray) -> dict[str, Any]:
    """A float32 array as JSON: shape and base64 of its little-endian bytes."""
    data = np.ascontiguousarray(values, "<f4")
    return {"shape": list(data.shape), "base64": base64.b64encode(data.tobytes()).decode()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(packed["base64"]), "<f4")
    return data.reshape(packed["shape"]).astype(np.float32)
