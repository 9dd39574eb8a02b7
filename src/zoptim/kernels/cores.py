"""How many threads this process may use with profit: what was asked for, else the cores it is allowed.

    ZOPTIM_THREADS, else OMP_NUM_THREADS, else min(affinity, ceil(quota))

`sched_getaffinity` (taskset, cpusets) is seen by everyone; the quota of a container (`docker --cpus 2`, limits.cpu) is
a share of time that neither OpenMP nor torch looks at: 64 threads on a quota of 2 cores are stopped 97 % of the time.
Not here: which threads compute (`native.c`), nor torch's own setting (`kernels.threads` follows it).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath


def asked(environ: Mapping[str, str] = os.environ) -> int | None:
    """ZOPTIM_THREADS; None: not set.

    Raises:
        ValueError: it is no positive number.
    """
    text = environ.get("ZOPTIM_THREADS", "")
    if not text:
        return None
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"ZOPTIM_THREADS={text!r} must be a positive number")
    return int(text)


def openmp(environ: Mapping[str, str] = os.environ) -> int | None:
    """OMP_NUM_THREADS, which torch heeds too; None: not set, or not a number."""
    first = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list is for nested regions
    return int(first) if first.isdigit() and int(first) > 0 else None


def alone() -> int:
    """Threads of the kernels in a process without torch."""
    return asked() or openmp() or allowed()


def allowed() -> int:
    """Cores that affinity and the container's quota leave."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time the control groups grant this process, the tightest of all levels; None: no limit.

    Args:
        root: where proc and sys lie; another one in tests.
    """
    found = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for tree in ("sys/fs/cgroup", f"sys/fs/cgroup/{controllers or 'unified'}", "sys/fs/cgroup/cpu"):
            here = PurePosixPath(path.lstrip("/"))
            found += [_limit(root / tree / level) for level in (here, *here.parents)]
    limits = [x for x in found if x is not None]
    return min(limits) if limits else None


def _limit(folder: Path) -> float | None:
    """One level's limit: `cpu.max` of version 2, or quota and period of version 1."""
    try:
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text().split()
        else:
            most = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text()
        return None if most in ("max", "-1") else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
