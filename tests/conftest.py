"""For every test: one thread, so that tiny models on busy machines do not wait for one another's cores."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported
