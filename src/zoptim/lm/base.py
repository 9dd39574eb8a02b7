"""The trained tensors' initial values, kept on disk while a run is in progress; restored before test is looked at.

Not here: a streamed model's (`stream.Kept`), whose checkpoint holds them already.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from ..protocols import Slot
from ..spaces.module import Module


class Base:
    """A file of all trained tensors, one after the other, in `folder`."""

    def __init__(self, space: Module, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.space, self.path = space, folder / "base.bin"
        with open(self.path, "wb") as file:
            for slot in space.slots():
                file.write(_bytes(space, slot))

    def restore(self) -> None:
        """Put the initial values back."""
        with open(self.path, "rb") as file:
            for slot in self.space.slots():
                with self.space.tensor(slot) as p:
                    raw = bytearray(file.read(p.numel() * p.element_size()))
                    p.copy_(torch.frombuffer(raw, dtype=p.dtype).view(p.shape))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
            self.path.parent.rmdir()


def _bytes(space: Module, slot: Slot) -> bytes:
    with space.tensor(slot) as p:
        return p.contiguous().view(torch.uint8).numpy().tobytes()
