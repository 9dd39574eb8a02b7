"""What a search found: SciPy's names, the trace of every evaluation, and a picture of it.

Not here: how it was found (`search`), the drawing (`curve`).
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np

WORD = 10  # characters of a field's name in print, at least
INTERRUPTED = 3  # status
STOPPED = "interrupted by Ctrl-C, this is what was known then"


class Trace:
    """Every evaluation in the order told.

    Attributes:
        queries: (k,) evaluations spent when it was known; a batch of b components costs b.
        values: (k,) what the objective said; NaN where it failed.
        best: (k,) the smallest value so far.
        compares: whether a lower value is better: neither in a game, nor on some components of a sum.
    """

    def __init__(self, queries: Any = (), values: Any = (), compares: bool = True) -> None:
        self._queries, self._values, self.compares = array("q", queries), array("d", values), compares

    def add(self, queries: int, value: float) -> None:
        self._queries.append(queries)
        self._values.append(value)

    def cut(self, known: int) -> None:
        """Leave the first `known`."""
        del self._queries[known:], self._values[known:]

    @property
    def queries(self) -> np.ndarray:
        return np.array(self._queries, dtype=np.int64)

    @property
    def values(self) -> np.ndarray:
        return np.array(self._values, dtype=np.float64)

    @property
    def best(self) -> np.ndarray:
        return np.fmin.accumulate(self.values) if len(self._values) else self.values

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Trace of {len(self)} values"


class Result(dict[str, Any]):
    """Fields by name or by attribute, as SciPy's OptimizeResult.

    Fields: x, fun, nfev (evaluations; a batch of b components costs b), nit (steps), success, status, message,
    trace, journal, method.

    Example:
        >>> Result(x=np.zeros(2), fun=0.5).fun
        0.5
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no field {name!r}; there are {', '.join(self)}") from None

    def plot(self, path: str | Path = "trace.svg") -> Path:
        """Draw the trace into an SVG file.

        Raises:
            ValueError: another ending.
        """
        path = Path(path)
        if path.suffix.lower() != ".svg":
            raise ValueError(f"path={str(path)!r}: the picture is an SVG; end the name in .svg")
        from .curve import drawn

        trace = self["trace"]
        title = f"{self['method']}: {self['nfev']} evaluations"
        path.write_text(drawn(trace.queries, trace.values, title, best=trace.compares))
        return path

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.items() if k != "journal"}
        with np.printoptions(threshold=12, edgeitems=3, precision=6):
            word = max([WORD, *map(len, shown)])
            lines = [f"{k:>{word}}: {_said(v, word)}" for k, v in shown.items()]
        return "\n".join(lines)


def interrupted(result: Result) -> Result:
    """The same, as what Ctrl-C ended: no success, however good it is."""
    result.update(status=INTERRUPTED, success=False)
    return result


def _said(value: Any, word: int) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value) if isinstance(value, str | np.ndarray) else repr(value)
    return text.replace("\n", "\n" + " " * (word + 2))
