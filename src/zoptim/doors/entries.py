"""A step size for a table of single derivatives (`probes.Entry`), from second differences of single components at the start.

    q_i   z'H_i z, z of normals, by f_i(x0), f_i(x0 + s z / 2) and f_i(x0 + s z)
    h     E q_i / d, the mean of the diagonal;   F^2 = E (q_i - q'_i)^2 / 4 = E |H_i|_F^2, z and z' on the same component
    lr    h / (3 F^2)

A step's correction d (z - J_ji) e_j from a place y away has the mean H y and the second moment F^2 |y|^2, M h^2 in the
terms of `held`; the table is never taken anew, only entry by entry, and what is old in it doubles the noise, so lr is
1 / (3 M h), as SAGA's (Defazio, Bach and Lacoste-Julien 2014: for f_i = <a, x>^2 / 2, rows of one length, 1 / (3 L), L = d |a|^2).
Where components bend down as often as up, h is F / d, the least that it can be where they do not.

Not here: the evaluations, and when there is no room for more (`settle`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from .. import noise
from ..probes import Entry
from ..probes.entry import entry
from ..protocols import Point, only

COMPONENTS = 256  # looked at, where there is room
ROUNDED = 64  # last digits of values, of which a second difference says nothing


class Bends:
    """What was measured of some components: pairs of q_i and q'_i."""

    def __init__(self, d: int) -> None:
        self.d = d
        self.pairs: list[tuple[float, float]] = []

    @property
    def lr(self) -> float:
        """0.0 where nothing was measured, or no component bends."""
        q = np.array(self.pairs).reshape(-1, 2)
        square = float(np.mean(np.square(q[:, 0] - q[:, 1]))) / 4.0 if len(q) else 0.0
        if not (0.0 < square < math.inf):
            return 0.0
        return max(float(q.mean()), math.sqrt(square)) / (3.0 * self.d * square)

    def measured(
        self, probe: Entry, key: int, last: int, scale: float, line: Callable[[np.ndarray], np.ndarray],
        ask: Callable[[np.ndarray, list[Point], int], Generator[Any, np.ndarray, np.ndarray]],
    ) -> Generator[Any, np.ndarray, None]:  # fmt: skip
        """Yields questions and keeps what follows from them.

        Args:
            last: t of the first draws; those of the others are below.
            scale: s.
            line: steps (2, d) to the start and two places on the way to each end, (5, d).
            ask: points (m, d), what they are asked on and t, to values.
        """
        for t in range(last, last - COMPONENTS, -1):
            i = entry(key, t)[0] % probe.components
            z = np.stack([noise.normals(key, t, k, 0, 0, self.d) for k in (0, 1)]).astype(np.float64)
            x = line(scale * z)
            f = yield from ask(x, [Point((), only(i))] * 5, t)
            went = np.square((x[[2, 4]] - x[0]).astype(np.float64)).sum(axis=1)  # less than s z at bounds
            if np.isfinite(f).all() and went.all():
                bend = f[0] - 2.0 * f[[1, 3]] + f[[2, 4]]
                bend[np.abs(bend) <= ROUNDED * np.finfo(x.dtype).eps * np.abs(f).max()] = 0.0
                q = 4.0 * bend * np.square(z).sum(axis=1) / went
                self.pairs.append((float(q[0]), float(q[1])))
