"""`--lr auto`: radius and step size from a few dozen forwards, before the first step.

Placeholder until the recipe lands.
"""

from __future__ import annotations

import time
from typing import Any


def calibrate(session: Any, probe: Any, order: Any, key: int, say: Any) -> dict[str, Any]:
    began = time.monotonic()
    return {"lr": 6e-3, "eps": 1e-3, "forwards": 0, "notes": [], "seconds_per_forward": 0.01}
