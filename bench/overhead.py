"""What `minimize` costs beside the function: bookkeeping a point at d = 10, a point at d = 10^6, a cold import.

    python -m bench.overhead [--points 20000]

CPU time of this process (a shared machine slows wall clocks), the function's own taken off; at d = 10^6 in units of
numpy's in-place add of such a float64 vector, in the same run.  cma and nevergrad beside it where they can be imported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from zoptim import kernels, minimize

SETTINGS = {"lr": 1e-3, "eps": 1e-3}


def cpu(work: Callable[[], object], times: int = 3) -> float:
    """The least CPU seconds of so many runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def nothing(x: np.ndarray) -> float:
    return 1.0 + x[0] * 1e-9


def searched(d: int, points: int, method: str, **settings: object) -> Callable[[], object]:
    x0 = np.zeros(d)
    return lambda: minimize(nothing, x0, method=method, budget=points, settings={**SETTINGS, **settings})


def alone(d: int, points: int) -> float:
    """The function's own seconds."""
    x = np.zeros(d)
    return cpu(lambda: [nothing(x) for _ in range(points)])


def small(points: int) -> dict[str, float]:
    """Microseconds a point at d = 10, by who asks."""
    own = alone(10, points)
    found = {}
    for name, settings in (
        ("mezo", {"law": "signs"}), ("mezo", {"law": "normal"}), ("fzoo", {}), ("zo_adamm", {}), ("openai_es", {"n": 16}),
    ):  # fmt: skip
        label = " ".join([name, *map(str, settings.values())])
        found[label] = (cpu(searched(10, points, name, **settings)) - own) / points * 1e6
    for label, work in peers(points).items():
        found[label] = (cpu(work, 1) - own) / points * 1e6
    return found


def peers(points: int) -> dict[str, Callable[[], object]]:
    """Others at the same function and d = 10."""
    found: dict[str, Callable[[], object]] = {}
    try:
        import cma

        quiet = {
            "verbose": -9,
            "maxfevals": points,
            "tolfun": 0,
            "tolx": 0,
            "tolfunhist": 0,
            "tolflatfitness": points,
        }
        found["cma"] = lambda: cma.fmin(nothing, np.zeros(10), 0.1, quiet)
    except ImportError:
        pass
    try:
        import nevergrad

        found["nevergrad OnePlusOne"] = lambda: nevergrad.optimizers.OnePlusOne(10, budget=points).minimize(
            nothing
        )
    except ImportError:
        pass
    return found


def large(d: int = 10**6, points: int = 240) -> dict[str, float]:
    """In-place adds of a float64 vector that a point costs, update's share included."""
    x, y = np.zeros(d), np.ones(d)
    add = cpu(lambda: [x.__iadd__(y) for _ in range(200)], 5) / 200
    found = {"milliseconds of numpy's add": add * 1e3}
    for name, law in (("mezo", "signs"), ("mezo", "normal"), ("fzoo", "signs"), ("fzoo", "normal")):
        found[f"{name} {law}"] = cpu(searched(d, points, name, law=law)) / points / add
    return found


def cold_import() -> dict[str, float]:
    """CPU seconds in a new process, numpy's own apart."""
    code = (
        "import time; a = time.process_time(); import zoptim; b = time.process_time(); import numpy;"
        "c = time.process_time(); zoptim.minimize; print(b - a, c - b, time.process_time() - c)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(3)
    ]
    least = [min(part) for part in zip(*(map(float, run.split()) for run in runs), strict=True)]
    return dict(zip(("import zoptim", "import numpy", "zoptim.minimize, the first time"), least, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=20000)
    points = parser.parse_args().points
    found = {
        "kernels": kernels.backend(),
        "load": os.getloadavg()[0],
        "microseconds a point, d = 10": small(points),
        "adds a point, d = 10^6": large(),
        "CPU seconds": cold_import(),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
