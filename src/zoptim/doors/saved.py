"""A search as plain data: what `Search.state` gives, JSON as it stands, and how arrays are written in it; its journal's file.

Not here: what a search is made of (`search`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import numpy as np


def packed(x: np.ndarray | None) -> dict[str, Any] | None:
    """An array as plain data, to the bit.

    Example:
        >>> unpacked(packed(np.array([1.0, np.nan])))
        array([ 1., nan])
    """
    if x is None:
        return None
    little = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
    return {"dtype": str(x.dtype), "shape": list(x.shape), "data": text(little.tobytes())}


def unpacked(data: dict[str, Any] | None) -> Any:
    """The array, or None."""
    if data is None:
        return None
    dtype = np.dtype(data["dtype"])
    flat = np.frombuffer(raw(data["data"]), dtype.newbyteorder("<"))
    return flat.reshape(data["shape"]).astype(dtype)


def text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def raw(data: str) -> bytes:
    return b64decode(data)


def free_for(journal: str | Path | None) -> None:
    """Refuse, before anything is asked, a file that steps cannot be kept in.

    Raises:
        ValueError: it holds something already, or has no folder.
    """
    if journal is None:
        return
    path = Path(journal)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"journal={str(journal)!r}: give a new file in a folder that there is")
    if path.exists() and path.stat().st_size:
        raise ValueError(
            f"journal={str(journal)!r} holds a search already: choose another path; one that is to go on another day is "
            "kept by Search.state() and made again by Search.from_state"
        )
