"""What a set is: a closed convex set of points, of which methods ask some of five questions.

    project(x)            the nearest point,                argmin_{z in K} |z - x|
    project(x, metric=v)  the nearest in another metric,    argmin_{z in K} (z - x)' diag(v) (z - x)
    lmo(g)                the farthest against g,           argmin_{s in K} <g, s>
    prox(x, eta)          of the set's indicator: project(x)
    shrunk(a), inner(r)   sets inside K from which probes stay in K

Points are arrays of any shape with as many numbers as the set has (one vector, or a matrix flattened by rows);
float32 and float64 come back as they came, computed in float64.  What a set cannot do it refuses, saying what works
instead.  Not here: penalties that are no sets (`regularizers`), manifolds, constraints known only by queries.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from ..protocols import Array

TOLERANCE = 1e-6  # of `contains`, relative to the set's size: what float32 leaves

REMEDIES = {
    "project": "use a method that needs lmo alone (Frank-Wolfe, such as jaguar)",
    "metric": "use the plain projection (Projected in place of ProjectedInMetric)",
    "lmo": "use a method that projects (Projected, Proximal)",
    "shrunk": "use inner(distance), or probe outside the set if the objective is defined there",
    "inner": "probe outside the set if the objective is defined there, or along directions that stay within",
}


class Set:
    """A base for sets: checks what comes in, keeps shape and dtype, refuses what a set does not offer.

    A set gives `_project(x, metric)`, `_lmo(g)` and `_excess(x)` on finite float64 vectors, `diameter(d)`, `inradius(d)` and
    `scaled(factor)`; what it leaves out it names in `refuses`, with the reason.  They are frozen dataclasses.
    """

    refuses: ClassVar[dict[str, str]] = {}  # operation -> why not

    # -- what methods ask ----------------------------------------------------------------------------

    def project(self, x: Any, metric: Any = None) -> np.ndarray:
        """The nearest point of the set, in x's shape and dtype; `metric` (x's shape, positive) weighs coordinates.

        Raises:
            ValueError: no such projection; x or metric of another size or not finite; a metric that is not positive.
        """
        self.require("project") if metric is None else self.require("project", "metric")
        flat = self._flat(x, "x")
        z = self._project(flat, None if metric is None else self._weights(metric, flat.size))
        return _as(x, flat.copy() if z is flat else z)

    def lmo(self, g: Any) -> np.ndarray:
        """A point of the set where <g, s> is least, in g's shape and dtype.

        Raises:
            ValueError: there is none; g of another size.
        """
        self.require("lmo")
        return _as(g, self._lmo(self._flat(g, "g")))

    def prox(self, x: Any, eta: float) -> np.ndarray:
        """argmin_z eta psi(z) + |z - x|^2 / 2 of psi = 0 in the set, infinite outside: the projection."""
        return self.project(x)

    def contains(self, x: Any, tolerance: float = TOLERANCE) -> bool:
        """Whether x is in the set, but for `tolerance` times its size."""
        return self.excess(x) <= tolerance

    def excess(self, x: Any) -> float:
        """How far outside x is, relative to the set's size; at most 0 inside, infinite where x is not finite."""
        flat = self._flat(x, "x", finite=False)
        return self._excess(flat) if np.isfinite(flat).all() else np.inf

    def gap(self, x: Any, g: Any) -> float:
        """<g, x - lmo(g)>, the Frank-Wolfe gap: 0 where x is the minimum of a convex function with gradient g at x."""
        s = self._flat(self.lmo(g), "g")
        return float(self._flat(g, "g") @ (self._flat(x, "x") - s))

    # -- what a set says of itself -------------------------------------------------------------------

    @property
    def size(self) -> int | None:
        """How many numbers a point has; None: any."""
        return None

    def diameter(self, d: int) -> float:
        """The largest Euclidean distance of two points, among points of d numbers; infinite where unbounded."""
        raise NotImplementedError

    def inradius(self, d: int) -> float:
        """The radius of the largest Euclidean ball about the set's centre, among points of d numbers; 0 where flat."""
        return 0.0

    # -- room for probes -----------------------------------------------------------------------------

    def scaled(self, factor: float) -> Self:
        """The set times `factor` about its own centre."""
        raise NotImplementedError

    def shrunk(self, alpha: float) -> Self:
        """(1 - alpha) K about the set's centre: around its points, balls of radius alpha * inradius(d) are in K.

        Raises:
            ValueError: alpha not in [0, 1); the set has no centre or no interior.
        """
        self.require("shrunk")
        if not 0.0 <= alpha < 1.0:
            raise ValueError(f"alpha={alpha!r} must be in [0, 1)")
        return self.scaled(1.0 - alpha)

    def inner(self, distance: float, d: int) -> Self:
        """A set around whose points balls of radius `distance` are in K: where to hold x so that probes stay inside.

        Raises:
            ValueError: there is no room for so large a ball; the set has no interior.
        """
        self.require("inner")
        room = self.inradius(d)
        if not 0.0 <= distance < room:
            raise ValueError(self._crowded(distance, room))
        return self.scaled(1.0 - distance / room)

    # -- refusals ------------------------------------------------------------------------------------

    @cached_property
    def offers(self) -> frozenset[str]:
        """Which of "project", "metric", "lmo", "shrunk", "inner" it does."""
        return frozenset(REMEDIES) - self.refuses.keys()

    def require(self, *operations: str) -> None:
        """Raises ValueError for the first operation that the set does not offer, saying what to use instead."""
        for name in operations:
            if name not in self.offers:
                why = self.refuses.get(name, "it is unbounded")
                raise ValueError(f"{type(self).__name__}: {name} is not offered, {why}; {REMEDIES[name]}")

    # -- for the sets --------------------------------------------------------------------------------

    def _project(self, x: np.ndarray, metric: np.ndarray | None) -> Array:
        raise NotImplementedError

    def _lmo(self, g: np.ndarray) -> Array:
        raise NotImplementedError

    def _excess(self, x: np.ndarray) -> float:
        raise NotImplementedError

    def _crowded(self, distance: float, room: float) -> str:
        return (
            f"{type(self).__name__}: distance={distance!r} must be from 0 to below {room:.6g}, the room there is; "
            "use a smaller eps"
        )

    def _flat(self, x: Any, name: str, finite: bool = True) -> np.ndarray:
        array = np.asarray(x)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{name} has dtype {array.dtype}: give real numbers")
        if self.size not in (None, array.size):
            raise ValueError(
                f"{type(self).__name__}: {name} has shape {array.shape}, the set's points {self.size} numbers"
            )
        if finite and not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinite numbers, of which no set has a nearest point")
        return array.reshape(-1).astype(np.float64, copy=False)

    def _weights(self, metric: Any, d: int) -> np.ndarray:
        v = self._flat(metric, "metric")
        if v.size != d or not (v > 0.0).all():
            raise ValueError(f"metric must be {d} positive finite numbers, one a coordinate")
        return v


def _as(like: Any, z: np.ndarray) -> np.ndarray:
    """z in the shape of `like`, and in its dtype if that is a float's."""
    array = np.asarray(like)
    return z.reshape(array.shape).astype(array.dtype if array.dtype.kind == "f" else np.float64, copy=False)


def number(name: str, value: Any, above: float = 0.0) -> float:
    """A finite number above a bound, as a float.

    Raises:
        ValueError: it is none.
    """
    fits = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not (fits and above < value < np.inf):
        raise ValueError(f"{name}={value!r} must be a finite number above {above:g}")
    return float(value)


def vector(name: str, value: Any, infinite: bool = False) -> np.ndarray:
    """A number, as a 0-d array, or a vector (d,), in float64.

    Raises:
        ValueError: not numbers, NaN, or infinite where that means nothing.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.size == 0:
        raise ValueError(f"{name} must be a number or an array of numbers")
    array = array.astype(np.float64)
    if np.isnan(array).any() or not (infinite or np.isfinite(array).all()):
        raise ValueError(f"{name} holds NaN or infinite numbers")
    array.flags.writeable = False
    return array if array.ndim == 0 else array.reshape(-1)


def put(of: Any, **values: Any) -> None:
    """Sets checked fields of a frozen dataclass, in its __post_init__."""
    for name, value in values.items():
        object.__setattr__(of, name, value)


__all__ = ["REMEDIES", "TOLERANCE", "Set", "number", "put", "replace", "vector"]
