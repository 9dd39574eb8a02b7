"""What bit-equality of a resumed run depends on, recorded when it begins and compared when it resumes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import kernels
from .session import Session


def machine() -> dict[str, Any]:
    """What bit-equality of a resumed run depends on."""
    import transformers

    return {
        "cpu": _cpu(), "threads": torch.get_num_threads(), "kernels": kernels.backend(),
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "numpy": np.__version__,
    }  # fmt: skip


def say_differences(session: Session, header: dict[str, Any], say: Callable[[str], None]) -> None:
    """What is not as it was when the run began: resumed losses may then differ in their last bits."""
    now: dict[str, Any] = {
        **machine(), "prefix": session.plan.mode if session.plan else None, "lockstep": session.space.lockstep,
        "compiled": session.compiled,
    }  # fmt: skip
    then = {
        **header["machine"],
        "prefix": header.get("prefix"),
        "lockstep": header.get("lockstep"),
        "compiled": header.get("compiled", False),
    }
    other = [f"{name} {then[name]} -> {now[name]}" for name in now if then.get(name) != now[name]]
    if other:
        say("not as when the run began, so losses may differ in their last bits: " + "; ".join(other))


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
