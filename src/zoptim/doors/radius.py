"""A radius for probes where none is given: as small as rounding allows, in units of the start.

    total displacement   h = max(1, rms |x0|) * (machine eps)^(1/3)   two-sided   (error h^2 + eps/h)
                                               (machine eps)^(1/2)   one-sided   (error h + eps/h)
    radius               h for a probe that moves one coordinate, h / sqrt(d) for one that moves all

A placeholder for black boxes without noise.  Not here: noisy objectives, whose radius is larger.
"""

from __future__ import annotations

import numpy as np

from ..engine import Method


def radius(method: Method, x: np.ndarray) -> float:
    """eps for the method's probes around x (d,).

    Example:
        >>> from zoptim import mezo
        >>> float(f"{radius(mezo(), np.zeros(4)):.3g}")
        3.03e-06
    """
    eps = float(np.finfo(x.dtype).eps)
    two_sided = (
        "OneSided" not in type(method.probe).__name__ and "Forward" not in type(method.coefficients).__name__
    )
    scale = max(1.0, float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))))
    h = scale * (eps ** (1 / 3) if two_sided else eps**0.5)
    return float(h / x.size**0.5)
