"""SAGA's table with one entry a step: derivative j of component i, and the mean of all that are known (ZIVR, 2601.05056).

    z = (f_i(x + eps e_j) - f_i(x)) / eps
    along  d (z - J_ji) e_j + s;   s_j <- s_j + (z - J_ji) / N;   J_ji <- z;      J = 0, s = 0 at first

E [d (z - J_ji) e_j + s] over i and j is the gradient whatever the table holds, and the variance goes as it closes in.
s is a named vector; J a fold over records, of which each keeps (i, z).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocols import Draw, Record, Vec, Weighing

S = Vec("s")


@dataclass
class Table:
    """Args:
    d: numbers of the parameters.
    components: N of the sum.

    Memory: 8 d N bytes, taken as entries are set.
    """

    d: int
    components: int
    _known: np.ndarray | None = field(default=None, init=False, repr=False)  # (N, d)

    def weigh(self, w: Weighing) -> Weighing:
        (draw,), i = w.draws, w.points[0].items.only
        assert isinstance(draw, Draw)
        z = (w.losses[1] - w.losses[0]) / w.eps
        new = float(z) if self._known is None else float(z - self._known[i, draw.i])
        share = new / self.components
        # the vector is set before the move, which so finds the new s: less by what went in
        return w.but(draws=(S, draw), coefs=np.array([1.0, self.d * new - share]), tracks=(("s", ((S, 1.0), (draw, share))),),
            extra=(float(i), float(z)),
        )  # fmt: skip

    def observe(self, record: Record) -> None:
        if record.kind != "move":
            return
        if self._known is None:
            self._known = np.zeros((self.components, self.d))
        j = next(z.i for z, _ in record.terms if isinstance(z, Draw))
        self._known[int(record.extra[0]), j] = record.extra[1]
