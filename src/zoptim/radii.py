"""How far to look: radii that balance what a difference bends against what rounding leaves of it.

    one-sided   h / |x| = e^(1/2)     bias h/2 z'Hz,  rounding e |f| / h
    two-sided   h / |x| = e^(1/3)     bias O(h^2)                           e: the loss's relative rounding error
    second      h / |x| = e^(1/4)     of second differences: bias O(h^2), rounding e |f| / h^2

h is the length of the displacement eps |z|, so eps = h / |z|: a radius for normals is that for unit vectors over
sqrt(d).  Not here: losses that are noisy beyond rounding, whose radius is a matter of the noise.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from .protocols import Directions, Now, Probe

ROOTS = {"one": 1 / 2, "two": 1 / 3, "second": 1 / 4}
UNIT = (
    "unit sphere",
    "coordinate",
    "distinct coordinates",
)  # laws of |z| = 1; of all others E |z|^2 is about d


def radius(
    dtype: Any, scale: float = 1.0, sided: Literal["one", "two", "second"] = "two", *, length: float = 1.0
) -> float:
    """eps for differences of losses computed in `dtype`.

    Args:
        dtype: in which the loss is computed, a numpy float type.
        scale: how far the loss goes on being like itself, in the units of x: see `scale_of`.
        sided: "one" (forward), "two" (central) or "second" differences.
        length: |z| of a direction: see `length_of`.

    Raises:
        ValueError: scale or length is not positive and finite, or sided is none of these.

    Example:
        >>> print(f"{radius(np.float64, sided='one'):.2g} {radius(np.float32, sided='two'):.2g}")
        1.5e-08 0.0049
        >>> print(f"{radius(np.float64, sided='one', length=10.0):.2g}")
        1.5e-09
    """
    for name, value in (("scale", scale), ("length", length)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}={value!r} must be a positive finite number")
    if sided not in ROOTS:
        raise ValueError(f"sided={sided!r} must be 'one', 'two' or 'second'")
    relative: float = float(np.finfo(dtype).eps) ** ROOTS[sided]
    return relative * scale / length


def auto(directions: Directions, probe: Probe, x: np.ndarray) -> float:
    """eps for a method's directions and probe on a loss of `x`, computed in its precision.

    Raises:
        ValueError: the probe has one point a step, where rounding is the least of what is divided by eps.

    Example:
        >>> from zoptim.directions import Dense
        >>> from zoptim.probes import TwoSided
        >>> print(f"{auto(Dense('signs'), TwoSided(), np.zeros(100)):.2g}")
        6.1e-07
    """
    if getattr(probe, "alone", False):
        raise ValueError(
            "eps='auto': what one point a step is compared with differs by more than rounding; give eps a number, "
            "as far as the loss is about linear"
        )
    points = next(probe.rounds(0, Now(1.0, 1.0)))
    back = any(s < 0 for point in points for _, s in point.terms)
    d, unit = x.size, getattr(directions, "finite", False)
    length = 1.0 if unit else length_of(getattr(directions, "law", ""), d)
    sided: Literal["one", "two", "second"] = "two" if back else "one"
    if getattr(probe, "second", False):
        sided = "second"
    return radius(x.dtype, scale_of(x), sided, length=length)


def scale_of(x: np.ndarray) -> float:
    """max(1, |x|), where nothing better is known than where one starts.

    Example:
        >>> scale_of(np.array([3.0, -4.0])), scale_of(np.zeros(5))
        (5.0, 1.0)
    """
    return max(1.0, float(np.sqrt((np.asarray(x, np.float64) ** 2).sum())))


def length_of(law: str, d: int) -> float:
    """|z| of a law of directions of d numbers, to about a tenth.

    Example:
        >>> length_of("normal", 100), length_of("unit sphere", 100)
        (10.0, 1.0)
    """
    return 1.0 if law in UNIT else math.sqrt(d)
