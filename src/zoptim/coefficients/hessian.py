"""A Hessian times a vector, from losses alone: Stein's identity for normal directions.

    s_i = (L_i+ + L_i- - 2 L_0) / (2 eps^2),   E s (z z' - 1) = H    (z ~ N(0, I))
    H w = 1/n sum_i s_i (<z_i, w> z_i - w)

Three forwards and one inner product a draw; no matrix.  Of signs only what is off the diagonal comes out, of
`Spherical` directions d/(d + 2) (H - tr H / d).  Not here: the diagonal alone (`directions.curved`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Record, Vec, Weighing
from .curvature import seconds


@dataclass(frozen=True)
class HessianTimes:
    """Coefficients of H w over `ThreePoint` points: one a draw, the last on w itself.

    Args:
        name: of w, among the vectors the method keeps.
    """

    name: str

    def weigh(self, w: Weighing) -> Weighing:
        along = Vec(self.name)
        s = seconds(w) / len(w.draws)
        dots = np.array([w.dot(((z, 1.0),), ((along, 1.0),)) for z in w.draws])
        return w.but(draws=(*w.draws, along), coefs=np.append(s * dots, -s.sum()))

    def observe(self, record: Record) -> None:
        """Stateless."""
