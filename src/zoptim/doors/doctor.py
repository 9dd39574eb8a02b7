"""`zoptim doctor`: what this installation is, and a second's proof that its kernels compute right."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .. import __version__, kernels, noise
from ..kernels import cores


def examine() -> dict[str, Any]:
    """Versions, kernels, cache, and two checks: Philox known answers and kernels == specification."""
    found: dict[str, Any] = {
        "zoptim": __version__, "python": platform.python_version(), "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }  # fmt: skip
    limit = cores.quota()
    if limit is not None and cores.allowed() < found["cores"]:
        found["cpu_quota"] = (
            f"{limit:g} cores' worth of time: zoptim finetune uses {cores.allowed()} threads; other programs on torch "
            f"need OMP_NUM_THREADS={cores.allowed()}"
        )
    for name in ("numpy", "torch", "transformers", "peft", "triton"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["kernels"] = kernels.backend()
    if not found["kernels"].startswith("native"):
        found["advice"] = (
            "the C kernels were not built: install a C compiler and reinstall, steps are far slower without"
        )
    found["known_answers"] = _known_answers()
    found["kernels_equal_specification"] = _equal()
    found["cache"] = _cache()
    return found


def brief(found: dict[str, Any]) -> str:
    """One line."""
    good = found["known_answers"] and found["kernels_equal_specification"]
    return (
        f"zoptim {found['zoptim']}: kernels {found['kernels']}, self-check {'passed' if good else 'FAILED'}"
    )


def _known_answers() -> bool:
    """Random123's vector for an all-zero counter and key."""
    words = noise.philox(np.zeros((1, 4), np.uint32), 0)
    return [int(w) for w in np.ravel(words)[:4]] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def _equal() -> bool:
    """Signs and normals from the kernels against noise.py, at an odd offset."""
    for law, draw in (("signs", noise.signs), ("normal", noise.normals)):
        out = np.zeros((1, 1001, 1), np.float32)
        kernels.form(
            out, None, law=law, key=7, slot=11, rows=slice(3, 1004), draws=[(5, 2)], coefs=np.array([[1.0]])
        )  # fmt: skip
        if not np.array_equal(out.ravel(), draw(7, 5, 2, 11, 3, 1001)):
            return False
    return True


def _cache() -> str:
    from ..lm.packaged import cache_dir

    folder = cache_dir()
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.is_dir() else 0
    return f"{folder} ({size / 1e6:.0f} MB)"
