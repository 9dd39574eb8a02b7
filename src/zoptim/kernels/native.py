"""The native kernels: the C library beside this file, through ctypes.

What it is: the loader of `_native*.so` (built by setup.py when there is a compiler) and the thin
call: one packed struct of 8-byte fields (`zo_form` in native.h) and three byte strings.  ctypes
releases the GIL while a kernel runs.  What it is not: a checker of arguments; `zoptim.kernels`
checks, and hands over addresses.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import warnings
from pathlib import Path

import numpy as np

_ARM = platform.machine().lower() in ("aarch64", "arm64")
EDITIONS = ("scalar", "neon") if _ARM else ("scalar", "avx2", "avx512")  # by their numbers in native.h
DTYPES = {"float32": 0, "float64": 1, "bfloat16": 2, "float16": 3}
LAWS = {"signs": 0, "normal": 1}

ABI = 2  # of native.c

_FORM = struct.Struct("=9Q12qd")
_ROUND = struct.Struct("=3Q7q")


class Library:
    """The loaded library: which editions it has, and its two calls."""

    def __init__(self, path: Path) -> None:
        lib = ctypes.CDLL(str(path))
        if not hasattr(lib, "zoptim_abi") or lib.zoptim_abi() != ABI:
            raise OSError(f"{path.name} is of another version of zoptim")
        for name in ("zoptim_isa", "zoptim_openmp"):
            getattr(lib, name).restype = ctypes.c_int64
        self._form, self._round = lib.zoptim_form, lib.zoptim_round
        self._form.argtypes = [ctypes.c_char_p] * 4
        self._round.argtypes = [ctypes.c_char_p]
        self._form.restype = self._round.restype = ctypes.c_int64
        self.best = int(lib.zoptim_isa())
        self.openmp = bool(lib.zoptim_openmp())
        self._table: np.ndarray | None = None
        self._table_at = 0

    def table_at(self) -> int:
        """Address of the normal table, which is built at its first use."""
        if self._table is None:
            from zoptim.noise import normal_table

            self._table = np.ascontiguousarray(normal_table())
            self._table_at = self._table.ctypes.data
        return self._table_at

    def form(
        self,
        out: int,
        base: int,
        dtype: int,
        law: int,
        key: int,
        slot: int,
        place: tuple[int, int, int, int],  # address of row numbers or 0, offset, rows, cols
        draws: bytes,
        coefs: bytes,
        size: tuple[int, int],  # m, k
        scale: float,
        isa: int,
        threads: int,
        units: int = 0,
        steps: bytes = b"",
        count: int = 0,
    ) -> None:
        """Runs `zoptim_form`; see `zoptim.kernels.form` and `update_` for what it computes."""
        table = self.table_at() if law else 0
        rows, offset, nrows, cols = place
        args = _FORM.pack(
            out, base, table, rows, units, 0, 0, 0, key,
            slot, offset, nrows, cols, *size, count, dtype, law, isa, threads, -1, scale,
        )  # fmt: skip
        if self._form(args, draws, coefs, steps):
            raise MemoryError("no memory for the kernels' scratch (about 100 kB a thread)")

    def round(
        self, out: int, src: int, dtype: int, key: int, slot: int, offset: int, n: int, t: int,
        isa: int, threads: int,
    ) -> None:  # fmt: skip
        """Runs `zoptim_round`; see `zoptim.kernels.round_stochastic_`."""
        self._round(_ROUND.pack(out, src, key, slot, offset, n, t, dtype, isa, threads))


def load() -> Library | None:
    """The library beside this file, or None where it was not built.

    Warns: it is there, and cannot be loaded (another system, another version).
    """
    here = Path(__file__).parent
    for pattern in ("_native*.so", "_native*.pyd", "_native*.dylib"):
        for path in sorted(here.glob(pattern)):
            try:
                return Library(path)
            except OSError as error:
                warnings.warn(f"native kernels not used, reinstall zoptim: {error}", stacklevel=2)
    return None
