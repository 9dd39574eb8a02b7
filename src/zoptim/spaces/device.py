"""Where a window's memory lies: on the host, or as pinned buffers with a twin on a GPU.

    empty, free      memory of a unit, I/O thread
    send             a unit has been read: on its way to where it computes, I/O thread
    tensor           its bytes where they compute, main thread
    leave            it goes; where it has changed its bytes come back, main thread
    settle           they are back, I/O thread, before they are written

`Device` HAS NOT RUN ON A GPU: its bookkeeping is tested with the CPU as the device, its streams and pinned memory are
not.  Copies go over a side stream while the compute stream works on another unit; an event per unit orders the two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .window import Memory


class Host(Memory):
    """The window's memory is what computes."""

    def send(self, memory: np.ndarray) -> None: ...

    def tensor(self, memory: np.ndarray) -> Tensor:
        return torch.from_numpy(memory)

    def leave(self, memory: np.ndarray, changed: bool) -> None: ...

    def settle(self, memory: np.ndarray) -> None: ...


class Device(Host):
    """Every unit in the window has a twin of its size on `device`; both count the same bytes."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self.side: Any = None
        if self.device.type == "cuda":
            self.side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}  # address of the host's -> host's, device's
        self._events: dict[int, Any] = {}

    def empty(self, size: int) -> np.ndarray:
        host = torch.empty(size, dtype=torch.uint8, pin_memory=self.side is not None)
        self._twins[host.data_ptr()] = host, torch.empty(size, dtype=torch.uint8, device=self.device)
        return host.numpy()

    def free(self, memory: np.ndarray) -> None:
        del self._twins[memory.ctypes.data]

    def send(self, memory: np.ndarray) -> None:
        host, twin = self._twins[memory.ctypes.data]
        self._copy(twin, host, memory)

    def tensor(self, memory: np.ndarray) -> Tensor:
        event = self._events.pop(memory.ctypes.data, None)
        if event is not None:
            torch.cuda.current_stream(self.device).wait_event(event)
        return self._twins[memory.ctypes.data][1]

    def leave(self, memory: np.ndarray, changed: bool) -> None:
        if self.side is not None:  # whatever comes into the twin next, comes after what computes with it now
            self.side.wait_stream(torch.cuda.current_stream(self.device))
        if changed:
            host, twin = self._twins[memory.ctypes.data]
            self._copy(host, twin, memory)

    def settle(self, memory: np.ndarray) -> None:
        event = self._events.pop(memory.ctypes.data, None)
        if event is not None:
            event.synchronize()

    def _copy(self, to: Tensor, source: Tensor, memory: np.ndarray) -> None:
        with torch.cuda.stream(self.side):  # nothing where there is none
            to.copy_(source, non_blocking=True)
            if self.side is not None:
                self._events[memory.ctypes.data] = self.side.record_event()
