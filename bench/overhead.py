"""What `minimize` costs beside the function: bookkeeping a point at d = 10, a point at d = 10^6, a cold import.

    python -m bench.overhead [--points 20000] [--save] [--json]

CPU time of this process (a shared machine slows wall clocks), the function's own taken off; at d = 10^6 in units of
numpy's in-place add of such a float64 vector, in the same run.  cma and nevergrad beside it where they can be imported.
"""

from __future__ import annotations

import argparse
import inspect
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench import common
from bench.sections import grid
from zoptim import Search, minimize
from zoptim.methods import BLACK_BOXES, SHELF
from zoptim.noise import key_from_seed
from zoptim.protocols import Starts
from zoptim.sets import Box

SETTINGS = {"lr": 1e-3, "eps": 1e-3}
START = [1.0 + 0.1 * i for i in range(10)]
MUST = 20  # microseconds a point at d = 10
PEERS = ("cma", "nevergrad OnePlusOne")


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


def bowl(x: np.ndarray) -> float:
    """For those whose steps grow without end where all is a slope."""
    return float(x @ x)


def creased(x: np.ndarray) -> float:
    """For plans, which are done with a bowl at once."""
    return float(x @ x) + float(np.abs(x).sum())


def searched(d: int, points: int, method: str, **settings: object) -> Callable[[], object]:
    x0 = np.zeros(d)
    return lambda: minimize(nothing, x0, method=method, budget=points, settings={**SETTINGS, **settings})


def alone(f: Callable[[np.ndarray], float], d: int, points: int) -> float:
    """The function's own seconds."""
    x = np.zeros(d)
    return cpu(lambda: [f(x) for _ in range(points)])


def small(points: int) -> dict[str, float]:
    """Microseconds a point at d = 10, by who asks."""
    own = alone(nothing, 10, points)
    found = {}
    for name, settings in (
        ("mezo", {"law": "signs"}), ("mezo", {"law": "normal"}), ("fzoo", {}), ("zo_adamm", {}), ("openai_es", {"n": 16}),
    ):  # fmt: skip
        label = " ".join([name, *map(str, settings.values())])
        found[label] = (cpu(searched(10, points, name, **settings)) - own) / points * 1e6
    own = alone(bowl, 10, points)
    for label, work in peers(points).items():
        found[label] = (cpu(work, 1) - own) / points * 1e6
    return found


def everyone(points: int) -> dict[str, float]:
    """Microseconds a point at d = 10 of every method that takes a plain function, its own arithmetic included."""
    own, found = alone(nothing, 10, points) / points, {}
    for name, card in {**SHELF, **BLACK_BOXES}.items():
        known = inspect.signature(card.make).parameters
        settings = {key: value for key, value in SETTINGS.items() if key in known}
        within = Box(np.full(10, -5.0), np.full(10, 5.0)) if "set" in known else None
        try:
            search = Search(np.zeros(10), name, constraints=within, budget=points, settings=settings)
        except ValueError:  # it is for other problems
            continue
        if not isinstance(search.talk.method.probe, Starts):  # plans are done with this one at once

            def work(name: str = name, within: Any = within, settings: Any = settings) -> object:
                return minimize(
                    nothing, np.zeros(10), method=name, constraints=within, budget=points, settings=settings
                )

            found[name] = (cpu(work) / points - own) * 1e6
    return found


def planned(points: int) -> dict[str, tuple[float, float]]:
    """Microseconds a point at d = 10 of methods that are plans, on a bowl with creases: in all, and the plan's own arithmetic.

    The plan alone is told the same answers once more, by nobody but this loop.
    """
    start = np.array(START)
    own, found = alone(creased, 10, points) / points, {}
    for method in ("auto", "fd_spectral", "nelder_mead"):
        search = Search(START, method, budget=points)
        while not search.done:
            search.tell([creased(x) for x in search.ask()])
        answers = search.trace.values
        makes = search.talk.method.probe.makes  # type: ignore[attr-defined]

        def told(makes: Any = makes, answers: np.ndarray = answers) -> None:
            plan, at = makes(start.copy(), key_from_seed(0)), 0
            try:
                asked = next(plan)
                while True:
                    m = len(asked) if isinstance(asked, list) else 0
                    asked, at = plan.send(answers[at : at + m] if m else None), at + m
            except StopIteration:
                pass
            except ValueError:  # the budget ended it
                assert at + m > len(answers)

        whole = cpu(lambda m=method: minimize(creased, START, method=m, budget=points))
        found[f"{method} ({len(answers)} points)"] = (
            (whole / len(answers) - own) * 1e6,
            cpu(told) / len(answers) * 1e6,
        )
    return found


def peers(points: int) -> dict[str, Callable[[], object]]:
    """Others at d = 10, on a bowl."""
    found: dict[str, Callable[[], object]] = {}
    try:
        import cma

        def cma_es() -> None:
            search = cma.CMAEvolutionStrategy(np.zeros(10), 0.1, {"verbose": -9})
            for _ in range(points // search.popsize):  # whether it would stop or not
                x = search.ask()
                search.tell(x, [bowl(p) for p in x])

        found["cma"] = cma_es
    except ImportError:
        pass
    try:
        import nevergrad

        found["nevergrad OnePlusOne"] = lambda: nevergrad.optimizers.OnePlusOne(10, budget=points).minimize(
            bowl
        )
    except ImportError:
        pass
    return found


def large(d: int = 10**6, points: int = 240) -> tuple[float, dict[str, float]]:
    """Seconds of an in-place add of a float64 vector, and how many of them a point costs, update's share included."""
    x, y = np.zeros(d), np.ones(d)
    add = cpu(lambda: [x.__iadd__(y) for _ in range(200)], 5) / 200
    found = {}
    for name, law in (("mezo", "signs"), ("mezo", "normal"), ("fzoo", "signs"), ("fzoo", "normal")):
        found[f"{name} {law}"] = cpu(searched(d, points, name, law=law)) / points / add
    return add, found


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


def table(found: Mapping[str, Any]) -> str:
    """Small tables, the musts beside."""
    parts = [
        grid(("d = 10", "microseconds a point", "must"),
             [(who, f"{value:.1f}", "" if who in PEERS else str(MUST)) for who, value in found["small"].items()]),
        grid(("plans at d = 10", "microseconds a point", "of them the plan's arithmetic", "left", "must"),
             [(who, f"{whole:.1f}", f"{bare:.1f}", f"{whole - bare:.1f}", str(MUST)) for who, (whole, bare) in found["planned"].items()]),
        grid(("d = 10^6, float64", "in-place adds a point", "must"),
             [(who, f"{value:.2f}", "3" if who.endswith("signs") else "6") for who, value in found["large"].items()]),
        grid(("cold import", "CPU seconds", "must"),
             [(what, f"{value:.3f}", "0.2" if what == "import zoptim" else "") for what, value in found["import"].items()]),
    ]  # fmt: skip
    return "\n".join(parts)


def section(found: Mapping[str, Any]) -> str:
    """What the page of black boxes says of it."""
    return (
        "Bookkeeping of `minimize` a point, the function's own time taken off.  A plan decides what to ask by arithmetic of its "
        "own, which is measured by telling it the same answers outside of `minimize`; one that asks a point at a time, as a "
        "simplex does, pays a whole round for each.  In the third table the update's share is "
        f"included, and numpy's add took {found['add_milliseconds']:.2f} ms. CPU time of one process, the least of three.\n\n{table(found)}\n"
        f"{rest(found['everyone'])}"
    )


def rest(found: Mapping[str, float]) -> str:
    """All methods, in a sentence."""
    order = sorted(found, key=lambda name: found[name])
    below = [name for name in order if found[name] < MUST]
    said = ", ".join(f"`{name}` {found[name]:.0f}" for name in order)
    return (
        f"{len(below)} of {len(order)} methods that take a plain function are below {MUST} microseconds a point at d = 10, their own "
        f"arithmetic included; those that ask few points a step or keep vectors are above: {said}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=20000)
    parser.add_argument("--save", action="store_true", help="into bench/results/overhead.json")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    add, adds = large()
    found = common.stamp(
        {
            "small": small(options.points),
            "planned": planned(options.points),
            "everyone": everyone(options.points // 4),
            "add_milliseconds": add * 1e3,
            "large": adds,
            "import": cold_import(),
        }
    )
    common.finish("overhead", found, began, options, table)


if __name__ == "__main__":
    main()
