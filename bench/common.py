"""What every measurement shares: clocks, interleaved repeats, the machine's shape, peak memory, results.

Times are wall clock medians; CPU seconds stand beside them, because on a machine that others use only those
can be compared.  Peak memory is the resident set's high-water mark, reset after loading (Linux).
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def interleaved(
    cases: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1
) -> dict[str, dict[str, Any]]:
    """Every case in turn, `repeats` times over: a slow minute of the machine hits all alike."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for turn in range(-warmup, repeats):
        for name, call in cases.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            taken = time.perf_counter() - wall, time.process_time() - cpu
            if turn >= 0:
                seen[name].append(taken)
    return {
        name: {
            "seconds": statistics.median(w for w, _ in pairs),
            "cpu_seconds": statistics.median(c for _, c in pairs),
            "all_seconds": [round(w, 5) for w, _ in pairs],
            "all_cpu_seconds": [round(c, 5) for _, c in pairs],
        }
        for name, pairs in seen.items()
    }


def ratio(step: Mapping[str, Any], base: Mapping[str, Any], m: int = 1, clock: str = "all_seconds") -> float:
    """Median over rounds of step / (m x base), both of the same round."""
    pairs = zip(step[clock], base[clock], strict=True)
    return round(statistics.median(a / (m * b) for a, b in pairs), 3)


def machine() -> dict[str, Any]:
    """Where and with what: enough to judge whether two results may be compared."""
    import numpy
    import torch
    import transformers

    from zoptim import kernels

    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "ram_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "kernels": kernels.backend(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
    }


def _cpu() -> str:
    try:
        fields = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        return platform.processor() or platform.machine()
    found = {name.strip(): value.strip() for name, _, value in reversed(fields)}
    numbers = (found.get("cpu family", "?"), found.get("model", "?"))
    flags = found.get("flags", "").split()
    wide = next((name for name in ("avx512f", "avx2") if name in flags), "no avx2")
    return f"{found.get('model name', platform.machine())} (family {numbers[0]} model {numbers[1]}, {wide})"


def stamp(result: dict[str, Any]) -> dict[str, Any]:
    """The result with date and machine."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return {"date": now.isoformat(), "machine": machine(), **result}


def save(name: str, result: dict[str, Any]) -> Path:
    """Write bench/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def finish(
    name: str,
    result: dict[str, Any],
    start: float,
    options: argparse.Namespace,
    table: Callable[[dict[str, Any]], str],
) -> None:
    """What every bench does last: say how long it took and by which command, save where asked, print."""
    words = [word for word in sys.argv[1:] if word != "--json"]
    result["command"] = " ".join(["python -m", f"bench.{name}", *words])
    result["duration_seconds"] = round(time.perf_counter() - start)
    if options.save:
        save(name, result)
    print(json.dumps(result, indent=2) if options.json else table(result))


# -- memory ------------------------------------------------------------------------------------------


def reset_peak() -> int:
    """Forget the peak so far; the resident bytes now.

    Raises:
        OSError: not Linux, or no permission.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> int:
    """Highest resident bytes since `reset_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def fresh(module: str, arguments: Sequence[str], *, path: str = "") -> Any:
    """Run a measurement in a process of its own; its last line is JSON.  `path`: one more place to import from."""
    command = [sys.executable, "-m", module, *arguments]
    places = [place for place in (os.environ.get("PYTHONPATH", ""), path) if place]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
