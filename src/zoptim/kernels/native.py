"""The native kernels: the C library beside this file, through ctypes.

What it is: the loader of `_native*.so` (built by setup.py when there is a compiler) and the thin
call: one packed struct of 8-byte fields (`zo_form` in native.h) and three byte strings.  ctypes
releases the GIL while a kernel runs.  `quick` is the same library as an extension module, for calls too small
for that ceremony (native_quick.h); None where it was built without Python's headers.  What it is not: a checker of arguments; `zoptim.kernels`
checks, and hands over addresses.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

_ARM = platform.machine().lower() in ("aarch64", "arm64")
EDITIONS = ("scalar", "neon") if _ARM else ("scalar", "avx2", "avx512")  # by their numbers in native.h
DTYPES = {"float32": 0, "float64": 1, "bfloat16": 2, "float16": 3}
LAWS = {"signs": 0, "normal": 1}

ABI = 2  # of native.c

_FORM = struct.Struct("=9Q12qd")
_ROUND = struct.Struct("=3Q7q")
_PRODUCT = struct.Struct("=3Q3qQ")
_OUTER = struct.Struct("=4Q7qd")


class Library:
    """The loaded library: which editions it has, and its calls."""

    def __init__(self, path: Path) -> None:
        lib = ctypes.CDLL(str(path))
        if not hasattr(lib, "zoptim_abi") or lib.zoptim_abi() != ABI:
            raise OSError(f"{path.name} is of another version of zoptim")
        for name in ("zoptim_isa", "zoptim_openmp"):
            getattr(lib, name).restype = ctypes.c_int64
        self._form, self._round, self._outer = lib.zoptim_form, lib.zoptim_round, lib.zoptim_outer
        self._product, self._packed = lib.zoptim_product, lib.zoptim_packed
        self._form.argtypes = self._product.argtypes = [ctypes.c_char_p] * 4
        self._round.argtypes = self._outer.argtypes = [ctypes.c_char_p]
        self._packed.argtypes = [ctypes.c_int64] * 4
        for call in (self._form, self._round, self._outer, self._product, self._packed):
            call.restype = ctypes.c_int64
        self.best = int(lib.zoptim_isa())
        self.openmp = bool(lib.zoptim_openmp())
        self._table: np.ndarray | None = None
        self._table_at = 0
        self._quick: Any = None
        self._isa = -1
        with suppress(ImportError):  # it was built without Python's headers
            self._quick = importlib.import_module("zoptim.kernels._native")

    def quick(self, isa: int) -> Callable[..., bool] | None:
        """`kernels.form` of a few numbers by this edition, without ctypes: False where it is not for this; None: no such."""
        if self._quick is None or isa < 0:
            return None
        self._isa = isa
        self._quick.use(isa, self._table_at)
        form: Callable[..., bool] = self._quick.form
        return form

    def table_at(self) -> int:
        """Address of the normal table, which is built at its first use."""
        if self._table is None:
            from zoptim.noise import normal_table

            self._table = np.ascontiguousarray(normal_table())
            self._table_at = self._table.ctypes.data
            if self._quick is not None:
                self._quick.use(self._isa, self._table_at)
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

    def packed(self, isa: int, points: int, tokens: int, cols: int) -> int:
        """Floats of scratch a product needs for x; 0 where this edition has none."""
        return int(self._packed(isa, points, tokens, cols)) if isa >= 0 else 0

    def product(
        self, y: int, x: int, scratch: int, weight: int, law: int, key: int, slot: int,
        shape: tuple[int, int, int, int], draws: bytes, coefs: bytes, k: int, isa: int, threads: int,
    ) -> None:  # fmt: skip
        """Runs `zoptim_product`; shape: points, tokens, rows, cols.  See `zoptim.kernels.product.product`."""
        points, tokens, rows, cols = shape
        table = self.table_at() if law else 0
        form = _FORM.pack(
            0, weight, table, 0, 0, 0, 0, 0, key,
            slot, 0, rows, cols, points, k, 0, 0, law, isa, threads, -1, 1.0,
        )  # fmt: skip
        if self._product(form, draws, coefs, _PRODUCT.pack(x, y, scratch, tokens, rows, points, 0)):
            raise MemoryError("no memory for the kernels' scratch (about 1 MB a thread)")

    def round(
        self, out: int, src: int, dtype: int, key: int, slot: int, offset: int, n: int, t: int,
        isa: int, threads: int,
    ) -> None:  # fmt: skip
        """Runs `zoptim_round`; see `zoptim.kernels.round_stochastic_`."""
        self._round(_ROUND.pack(out, src, key, slot, offset, n, t, dtype, isa, threads))

    def outer(
        self, out: int, base: int, u: int, vt: int, size: tuple[int, int, int, int], dtype: int,
        scale: float, isa: int, threads: int,
    ) -> None:  # fmt: skip
        """Runs `zoptim_outer`; see `zoptim.kernels.outer.outer`.  `size` is (m, rows, cols, rank)."""
        self._outer(_OUTER.pack(out, base, u, vt, *size, dtype, isa, threads, scale))


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
