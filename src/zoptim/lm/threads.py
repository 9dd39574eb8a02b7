"""How many threads a run computes with (docs/threads.md)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..kernels import cores


def set_threads(wanted: int | None, say: Callable[[str], None]) -> None:
    """torch's threads, which the kernels follow: as asked, else no more than the container's share of time feeds."""
    wanted = wanted or cores.asked()
    if wanted is None and cores.openmp() is None and cores.allowed() < torch.get_num_threads():
        wanted = cores.allowed()
        say(
            f"threads {torch.get_num_threads()} -> {wanted}: this container may use no more (--threads N insists)"
        )
    if wanted:
        torch.set_num_threads(wanted)
