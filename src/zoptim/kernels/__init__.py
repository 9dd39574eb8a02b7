"""The hot loops: forming points from regenerated draws, and stochastic rounding.

What it is: one dispatcher over numpy arrays and torch tensors.  `form` is the central call,

    out_p = base + scale * sum_k coefs[p, k] z_k

with the order and the roundings of docs/noise.md; `update_` does that in place for one step or many,
half precision rounded stochastically, in one sweep of memory.  Every edition gives the same bits:
native C (`native.c`: scalar, AVX2, AVX-512, NEON, any number of threads), numpy (`reference.py`), torch
integers for other devices (`torch_ref.py`) and Triton (`triton.py`).  What it is not: an importer
of torch; a tensor is recognized by its `data_ptr`.

Environment: ZOPTIM_KERNELS = native | scalar | avx2 | avx512 | neon | reference forces an edition;
ZOPTIM_THREADS = n sets the threads where torch is not loaded, and of `zoptim finetune` (cores.py).
"""

from __future__ import annotations

import ctypes
import math
import os
import struct
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from zoptim.kernels import cores, native, reference

__all__ = [
    "Steps", "backend", "choose", "form", "round_stochastic_", "threads", "update_",
]  # fmt: skip

_CODES: dict[Any, int] = {  # dtype object -> code of native.DTYPES; torch's are added when met
    np.dtype(np.float32): 0,
    np.dtype(np.float64): 1,
    np.dtype(np.uint16): 2,  # bfloat16 bit patterns
    np.dtype(np.float16): 3,
}
_NAMES = ("native", *native.EDITIONS, "reference")
_DRAW, _STEP = struct.Struct("=2I"), struct.Struct("=3qd")
_addressof, _from_buffer = ctypes.addressof, ctypes.c_char.from_buffer
_library: native.Library | None = None
_isa: int = -1  # edition of the library; -1: reference
_quick: Callable[..., bool] | None = None  # its form of a few numbers, where there is one
_packed: tuple[Any, bytes] = ((), b"")  # the last tuple of many draws and its packed form


class Steps(tuple[tuple[Sequence[Any], np.ndarray, float, int], ...]):
    """Updates in order, each (draws (k,), coefs (k,), scale, t), packed once for all the slots they go to.

    p <- p + scale * sum_k coefs[k] z_k; t is the step whose stream rounds half precision.
    """

    @cached_property
    def packed(self) -> tuple[bytes, bytes, bytes]:
        """Draws, coefficients and the table (first draw, k, t, scale) as native.c reads them."""
        first, table = 0, []
        for draws, coefs, scale, t in self:
            if np.shape(coefs) != (len(draws),):
                raise ValueError(
                    f"coefs has shape {np.shape(coefs)}; {len(draws)} draws need ({len(draws)},)"
                )
            if not 0 <= t < 1 << 32:
                raise ValueError(f"t={t} must be in [0, 2**32)")
            table.append(_STEP.pack(first, len(draws), t, scale))
            first += len(draws)
        coefs_of_all = [np.asarray(step[1], np.float64).tobytes() for step in self]
        return b"".join([_pack(step[0]) for step in self]), b"".join(coefs_of_all), b"".join(table)


def choose(name: str = "") -> str:
    """Selects the edition for this process; "" is the best one there is.

    Raises:
        ValueError: the name is unknown, or this machine or installation cannot run it.
    """
    global _library, _isa, _quick
    if name not in ("", *_NAMES):
        raise ValueError(f"ZOPTIM_KERNELS={name!r} must be one of {', '.join(_NAMES)}")
    _library = _library or native.load()
    best = _library.best if _library else -1
    _isa = {"": best, "native": best, "reference": -1}.get(name, -2)
    if _isa == -2:
        _isa = native.EDITIONS.index(name)
    if _isa > best or (name == "native" and best < 0):
        wanted, _isa = name, best
        have = ", ".join(native.EDITIONS[: best + 1]) or "none; build them with pip and a C compiler"
        raise ValueError(f"ZOPTIM_KERNELS={wanted!r} cannot run here; native editions: {have}")
    _quick = _library.quick(_isa) if _library else None
    return backend()


def backend() -> str:
    """Which kernels run, for people: `native avx512, 2 threads, openmp` or `reference numpy`."""
    if _isa < 0 or _library is None:
        return "reference numpy"
    kind = "openmp" if _library.openmp else "no openmp"
    count = threads() if _library.openmp else 1
    return f"native {native.EDITIONS[_isa]}, {count} thread{'s' * (count != 1)}, {kind}"


def threads() -> int:
    """torch.get_num_threads() where torch is loaded, else `cores.alone`."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    return _threads_alone


def form(
    out: Any,
    base: Any,
    *,
    law: str,
    key: int,
    slot: int,
    rows: Any,
    draws: Sequence[tuple[Any, ...]],
    coefs: np.ndarray,
    scale: float = 1.0,
) -> None:
    """Forms m points: out[p] = base + scale * sum_k coefs[p, k] z_k on the given rows of a slot.

    Rounded after every operation, in the order of k, in A (float64 for float64, else float32), and
    once more into out's dtype; zero coefficients are skipped.  The same bits from every edition,
    in any chunking.

    Args:
        out: (m, R, ...) C-contiguous array or tensor: float32, float64, float16, bfloat16 (numpy:
            uint16 bit patterns).  Written.
        base: (R, ...) of the same kind and dtype, or None for zeros.  May be `out` itself if m = 1.
        law: "signs" or "normal".
        key: run key, 64 bits.
        slot: noise address of the tensor, 32 bits.
        rows: the slot's rows that base and out hold: a slice, or (R,) int64 row numbers.
        draws: k draws; of each the first two fields, (t, i), are read.  A tuple is packed once.
        coefs: (m, k) float64.
        scale: multiplies every sum.

    Raises:
        ValueError: a shape, dtype, address or overlap is wrong; nothing was written.

    Cost: one sweep of `out`; about 5 microseconds a call, one where numbers are few; noise of a chunk is made once for all m.

    Example:
        >>> w = np.zeros(4, np.float32)
        >>> form(w[None], w, law="signs", key=1, slot=2, rows=slice(0, 4), draws=[(0, 0)],
        ...      coefs=np.array([[0.5]]))
        >>> np.abs(w)
        array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    if _quick is not None and _quick(out, base, law, key, slot, rows, draws, coefs, scale):
        return
    shape = tuple(out.shape)
    m, nrows = shape[0], shape[1]
    cols = math.prod(shape[2:])
    k = len(draws)
    coefs = np.ascontiguousarray(coefs, np.float64)
    if coefs.shape != (m, k):
        raise ValueError(f"coefs has shape {coefs.shape}; {m} points and {k} draws need {(m, k)}")
    offset, numbers = _check(law, key, slot, rows, nrows, cols)
    if base is not None and tuple(base.shape) != shape[1:]:
        raise ValueError(f"base has shape {tuple(base.shape)}; out {shape} needs {shape[1:]}")
    if getattr(out, "is_cpu", True) is False:
        _form_elsewhere(out, base, law, key, slot, numbers, offset, draws, coefs, scale)
        return
    code, out_at = _address(out, "out")
    base_at = 0
    if base is not None:
        base_code, base_at = _address(base, "base")
        if base_code != code:
            raise ValueError(f"base is {base.dtype}, out is {out.dtype}; they must agree")
        _refuse_overlap(out_at, base_at, nrows * cols * (4, 8, 2, 2)[code], m)
    packed = _pack(draws)
    if _isa < 0 or _library is None:
        reference.form(
            _numpy(out).reshape(m, nrows, cols),
            None if base is None else _numpy(base).reshape(nrows, cols),
            law=law, key=key, slot=slot, rows=numbers, offset=offset,
            draws=[(d[0], d[1]) for d in draws], coefs=coefs, scale=scale,
        )  # fmt: skip
        return
    one_run = (0, offset, 1, nrows * cols)
    place = one_run if numbers is None else (numbers.ctypes.data, 0, nrows, cols)
    _library.form(
        out_at, base_at, code, native.LAWS[law], key, slot, place, packed, coefs.tobytes(), (m, k),
        scale, _isa, threads(),
    )  # fmt: skip


def update_(
    p: Any, *, law: str, key: int, slot: int, rows: slice, steps: Steps, units: np.ndarray | None = None
) -> None:
    """Updates p in place by each of `steps` in turn, chunk by chunk while a chunk is in cache.

    The bits are those of one `form(p[None], p, ...)` a step; in half precision of the widened p, and
    then `round_stochastic_` with the step's t.

    Args:
        p: (R, ...) C-contiguous array or tensor, as `out` of `form`.  Written.
        law: "signs" or "normal".
        key: run key, 64 bits.
        slot: noise address of the tensor, 32 bits.
        rows: the slot's rows that p holds.
        steps: what to add, in order.
        units: float32 factors of p's shape: every sum is multiplied by them before it is scaled.

    Raises:
        ValueError: a shape, dtype or address is wrong; nothing was written.

    Cost: one sweep of `p` for all steps; no copy in half precision (but in the numpy edition).
    """
    nrows, cols = p.shape[0], math.prod(p.shape[1:])
    offset, _ = _check(law, key, slot, rows, nrows, cols)
    if units is not None and tuple(units.shape) != tuple(p.shape):
        raise ValueError(f"units has shape {units.shape}; p has {tuple(p.shape)}")
    if not len(steps):
        return
    if _isa < 0 or _library is None or getattr(p, "is_cpu", True) is False:
        _update_by_parts(p, law, key, slot, rows, steps, units)
        return
    code, at = _address(p, "p")
    if not (hasattr(p, "data_ptr") or p.flags.writeable):
        raise ValueError("p is read-only; pass an array that may be written")
    units_at = 0
    if units is not None:
        units = np.ascontiguousarray(units, np.float32)
        units_at = units.ctypes.data
    draws, coefs, packed = steps.packed
    _library.form(
        at, at, code, native.LAWS[law], key, slot, (0, offset, 1, nrows * cols), draws, coefs, (1, 0),
        1.0, _isa, threads(), units=units_at, steps=packed, count=len(steps),
    )  # fmt: skip


def _update_by_parts(
    p: Any, law: str, key: int, slot: int, rows: slice, steps: Steps, units: np.ndarray | None
) -> None:
    """`update_` where no native kernel runs: for half precision widen, form and round, in three sweeps."""
    half = p.dtype.itemsize == 2
    if getattr(p, "is_cpu", True):
        p = _numpy(p)
    offset = (rows.start or 0) * math.prod(p.shape[1:])
    for draws, coefs, scale, t in steps:
        wide = p if not half else reference.widen(p, np.float32) if isinstance(p, np.ndarray) else p.float()
        g = (wide + 0)[None] if units is not None else wide[None]
        form(
            g, None if units is not None else wide, law=law, key=key, slot=slot, rows=rows, draws=draws,
            coefs=coefs[None], scale=1.0 if units is not None else scale,
        )  # fmt: skip
        if units is not None:
            g *= units if isinstance(g, np.ndarray) else g.new_tensor(units)  # float32 also where p is half
            g *= scale
            wide += g[0]
        if half:
            round_stochastic_(p, wide, key=key, slot=slot, offset=offset, t=t)


def round_stochastic_(out: Any, src: Any, *, key: int, slot: int, offset: int, t: int) -> None:
    """Rounds float32 into bfloat16 or float16 without bias, from the stream of purpose 1.

    E[out] = src for |src| within range; what is representable stays itself; a finite value stays
    finite (the largest), infinities and NaN stay.  For float16 below 2**-14 the probability is cut
    to 16 bits, a bias under 2**-40.  The result depends on (key, slot, element, t), not on chunks.

    Args:
        out: half precision array or tensor of any shape, C-contiguous.  Written.
        src: float32 of the same shape.
        key: run key.
        slot: noise address of the tensor.
        offset: element number of the first element in the slot.
        t: step.

    Cost: one sweep; 16 random bits an element.
    """
    if tuple(out.shape) != tuple(src.shape):
        raise ValueError(f"out has shape {tuple(out.shape)}, src {tuple(src.shape)}; must agree")
    if not (0 <= key < 1 << 64 and 0 <= slot < 1 << 32 and 0 <= t < 1 << 32 and offset >= 0):
        raise ValueError(f"address out of range: key={key}, slot={slot}, t={t}, offset={offset}")
    if getattr(out, "is_cpu", True) is False:
        from zoptim.kernels import torch_ref

        torch_ref.round_stochastic_(out, src, key=key, slot=slot, offset=offset, t=t)
        return
    code, out_at = _address(out, "out")
    src_code, src_at = _address(src, "src")
    if code not in (2, 3) or src_code != 0:
        raise ValueError(f"out is {out.dtype}, src {src.dtype}; need half precision from float32")
    n = math.prod(out.shape)
    if n == 0:
        return
    if _isa < 0 or _library is None:
        reference.round_stochastic_(
            _numpy(out).reshape(-1), _numpy(src).reshape(-1), key=key, slot=slot, offset=offset, t=t
        )
        return
    _library.round(out_at, src_at, code, key, slot, offset, n, t, _isa, threads())


def _check(law: str, key: int, slot: int, rows: Any, nrows: int, cols: int) -> tuple[int, np.ndarray | None]:
    """The place of rows whose address is in order: (element offset, None) of a range, or (0, row numbers)."""
    if law not in native.LAWS:
        raise ValueError(f"law={law!r} must be one of {', '.join(native.LAWS)}")
    if not (0 <= key < 1 << 64 and 0 <= slot < 1 << 32):
        raise ValueError(f"key={key} must be below 2**64 and slot={slot} below 2**32, both >= 0")
    if isinstance(rows, slice):
        start = rows.start or 0
        if rows.step not in (None, 1) or (rows.stop is not None and rows.stop - start != nrows):
            raise ValueError(f"rows={rows} does not select the {nrows} rows of out")
        last, numbers = start + nrows, None
    else:
        numbers = np.ascontiguousarray(rows, np.int64)
        if numbers.shape != (nrows,):
            raise ValueError(f"rows has shape {numbers.shape}; out has {nrows} rows")
        start = int(numbers.min()) if nrows else 0
        last = int(numbers.max()) + 1 if nrows else 0
    if start < 0 or last * cols > 1 << 35:
        raise ValueError(f"rows {start}..{last} of {cols} columns: elements must be in [0, 2**35)")
    return (start * cols if numbers is None else 0), numbers


def _pack(draws: Sequence[tuple[Any, ...]]) -> bytes:
    """Pairs (t, i) as 32-bit words; a tuple, being immutable, is packed once while it is in use."""
    global _packed
    cached, data = _packed
    if cached is draws:
        return data
    for d in draws:
        if not (0 <= d[0] < 1 << 32 and 0 <= d[1] < 1 << 24):
            raise ValueError(f"draw {d} must have 0 <= t < 2**32 and 0 <= i < 2**24")
    data = b"".join([_DRAW.pack(d[0], d[1]) for d in draws])
    if isinstance(draws, tuple):
        _packed = (draws, data)
    return data


def _address(x: Any, what: str) -> tuple[int, int]:
    """(dtype code, address) of a C-contiguous numpy array or CPU tensor."""
    code = _CODES.get(x.dtype)
    if code is None:
        code = native.DTYPES.get(str(x.dtype).removeprefix("torch."))
        if code is None or not hasattr(x, "data_ptr"):
            raise ValueError(f"{what} is {x.dtype}; need float32, float64, float16 or bfloat16")
        _CODES[x.dtype] = code
    if not isinstance(x, np.ndarray) and hasattr(x, "data_ptr"):
        if not x.is_contiguous():
            raise ValueError(f"{what} must be contiguous; pass a contiguous scratch")
        return code, x.data_ptr()
    try:
        return code, _addressof(_from_buffer(x))  # four times as fast as the next
    except (TypeError, ValueError):  # strided, read-only, or empty
        if not x.flags.c_contiguous:
            raise ValueError(f"{what} must be C-contiguous; pass a contiguous scratch") from None
        if what == "out" and not x.flags.writeable:
            raise ValueError("out is read-only; pass an array that may be written") from None
        return code, x.__array_interface__["data"][0]


def _refuse_overlap(out: int, base: int, size: int, m: int) -> None:
    if base < out + m * size and out < base + size and not (m == 1 and out == base):
        raise ValueError("base overlaps out; only out == base with one point may share memory")


def _numpy(x: Any) -> np.ndarray:
    """A numpy view of a CPU tensor (bfloat16 as uint16), or the array itself."""
    if isinstance(x, np.ndarray):
        return x
    if str(x.dtype) == "torch.bfloat16":
        import torch

        x = x.detach().view(torch.int16).numpy().view(np.uint16)
    else:
        x = x.detach().numpy()
    return np.asarray(x)


def _form_elsewhere(
    out: Any, base: Any, law: str, key: int, slot: int, rows: Any, offset: int, draws: Any,
    coefs: np.ndarray, scale: float,
) -> None:  # fmt: skip
    """Tensors that are not in main memory: Triton on a GPU that has it, else torch integers."""
    pairs = [(d[0], d[1]) for d in draws]
    _pack(draws)  # checks their range
    if out.device.type == "cuda" and str(out.dtype) != "torch.float64":
        try:
            from zoptim.kernels import triton as edition
        except ImportError:
            from zoptim.kernels import torch_ref as edition  # type: ignore[no-redef]
    else:
        from zoptim.kernels import torch_ref as edition  # type: ignore[no-redef]
    edition.form(
        out, base, law=law, key=key, slot=slot, rows=rows, offset=offset, draws=pairs, coefs=coefs,
        scale=scale,
    )  # fmt: skip


_threads_alone = cores.alone()
choose(os.environ.get("ZOPTIM_KERNELS", ""))
