"""What the answers of a problem in a problem weigh (`probes.Levels`; arXiv 2404.00158).

All means over n draws:

    inner    y <- y - ratio lr  (G+ - G-) / (2 eps) v
    solve    w <- w - pace (H_yy w - b),   b = (F+ - F-) / (2 eps) v'
    outer    x <- x - lr [ (F+ - F-) / (2 eps) u - H_xy w ]

    H_yy w = D v,  H_xy w = D u,   D = (G++ - G-+ - G+- + G--) / (4 eps^2), the first sign of v (u), the second of w
    drawn:   D2 / (2 eps^2) (<v, w> v - w),   D2 / (2 eps^2) <v, w> u,   D2 = G+ + G- - 2 G

The drawn products (the paper's) are noisy by the trace of H_yy, whatever w is: w's pace has to fall with the third
power of y's dimension, where along w itself it falls with the first.

w is a named vector, in y's place; it goes on from where the last solve left it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Record, Term, Vec, Weighing

W = Vec("w")  # as the probe asks along it


@dataclass(frozen=True)
class Levels:
    """Args:
    ratio: step size of y over that of x.
    pace: step size of w.
    """

    ratio: float
    pace: float

    def weigh(self, w: Weighing) -> Weighing:
        draws, losses, eps = w.draws, w.losses, w.eps
        if len(losses) == 2 * len(draws):
            c = (losses[0::2] - losses[1::2]) / (2.0 * eps)
            return w.weighed(self.ratio * c / len(draws))
        outer = draws[0].group == "x"  # type: ignore[union-attr]
        along = len(losses) % 6 == 0
        n = len(losses) // (6 if along else 4)
        slopes = (losses[0 : 2 * n : 2] - losses[1 : 2 * n : 2]) / (2.0 * eps)
        if along:
            four = losses[2 * n :].reshape(n, 4)
            product, rest = (four[:, 0] - four[:, 1] - four[:, 2] + four[:, 3]) / (4.0 * eps**2), 0.0
        else:
            bent = (losses[2 * n : 4 * n : 2] + losses[2 * n + 1 : 4 * n : 2] - 2.0 * losses[-1]) / (
                2.0 * eps**2
            )
            product, rest = bent * self._along(w, draws[n:] if outer else draws[:n]), float(bent.mean())
        if outer:
            return w.but(draws=draws[:n], coefs=(slopes - product) / n)
        c = np.concatenate([-product, slopes]) * (self.pace / n)
        kept: Term = (W, 1.0 + self.pace * rest)
        moved = tuple((z, float(x)) for z, x in zip(draws, c, strict=True))
        return w.but(tracks=((W.name, (kept, *moved)),))

    @staticmethod
    def _along(w: Weighing, draws: tuple[object, ...]) -> np.ndarray:
        """<v_j, w>, (n,)."""
        return np.array([w.dot(((v, 1.0),), ((W, 1.0),)) for v in draws])  # type: ignore[arg-type]

    def observe(self, record: Record) -> None:
        """Stateless: w is the engine's to keep."""
