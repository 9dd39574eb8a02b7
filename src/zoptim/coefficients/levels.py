"""What the answers of a problem in a problem weigh (`probes.Levels`; arXiv 2404.00158).

With D2_j = G+ + G- - 2 G, all means over n draws:

    inner    y <- y - ratio lr  (G+ - G-) / (2 eps) v
    solve    w <- w - pace (H w - b),   H w = D2 / (2 eps^2) (<v, w> v - w),   b = (F+ - F-) / (2 eps) v'
    outer    x <- x - lr [ (F+ - F-) / (2 eps) - D2 <v, w> / (2 eps^2) ] u

w is a named vector, in y's place; it goes on from where the last solve left it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..protocols import Record, Term, Vec, Weighing

W = Vec("w")


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
            return replace(w, coefs=self.ratio * c / len(draws))
        n, here = len(draws) // 2, losses[-1]
        first, second = losses[: 2 * n], losses[2 * n : 4 * n]
        if draws[0].group == "x":  # type: ignore[union-attr]
            slopes = (first[0::2] - first[1::2]) / (2.0 * eps)
            bent = (second[0::2] + second[1::2] - 2.0 * here) / (2.0 * eps**2)
            c = (slopes - bent * self._along(w, draws[n:])) / n
            return replace(w, draws=draws[:n], coefs=c)
        bent = (first[0::2] + first[1::2] - 2.0 * here) / (2.0 * eps**2)
        slopes = (second[0::2] - second[1::2]) / (2.0 * eps)
        c = np.concatenate([-bent * self._along(w, draws[:n]), slopes]) * (self.pace / n)
        kept: Term = (W, 1.0 + self.pace * float(bent.mean()))
        moved = tuple((z, float(x)) for z, x in zip(draws, c, strict=True))
        return replace(w, tracks=((W.name, (kept, *moved)),))

    @staticmethod
    def _along(w: Weighing, draws: tuple[object, ...]) -> np.ndarray:
        """<v_j, w>, (n,)."""
        return np.array([w.dot(((v, 1.0),), ((W, 1.0),)) for v in draws])  # type: ignore[arg-type]

    def observe(self, record: Record) -> None:
        """Stateless: w is the engine's to keep."""
