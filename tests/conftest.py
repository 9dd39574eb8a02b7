"""For every test: one thread, so that tiny models on busy machines do not wait for one another's cores; Ctrl-C as ever."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell starts what runs in its background without it
