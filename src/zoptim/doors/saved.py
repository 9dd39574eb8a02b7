"""A search as plain data: what `Search.state` gives, JSON as it stands, and how arrays are written in it; its journal's file.

Not here: what a search is made of (`search`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 3
PARTS = (
    "start", "region", "arguments", "lr", "journal", "told", "spent", "trace", "best", "mean", "ties", "final", "before", "ended",
)  # fmt: skip


def sound(state: Any) -> None:
    """Refuse what `Search.state` did not give, or what has lost a part since.

    Raises:
        TypeError: no mapping.
        ValueError: another version's, or a part is missing.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state={state!r:.60}: give what Search.state() returned")
    if state.get("format") != FORMAT:
        raise ValueError(f"state: format {state.get('format')!r} is not {FORMAT}; it is of another version")
    missing = [name for name in PARTS if name not in state]
    if missing:
        raise ValueError(f"state has lost its {', '.join(missing)}: give all that Search.state() returned")


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
    """The array, or None.

    Raises:
        ValueError: no array of a state.
    """
    if data is None:
        return None
    if not (isinstance(data, Mapping) and {"dtype", "shape", "data"} <= data.keys()):
        raise ValueError(f"state: {data!r:.60} is no array of it; give what Search.state() returned")
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
