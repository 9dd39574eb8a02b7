"""Numbers as people read them: durations, sizes, counts.  Arithmetic only, no state.

Sizes are decimal (1 kB = 1000 bytes), as disks and networks count.
"""

from __future__ import annotations

import math


def duration(seconds: float | None) -> str:
    """A span of time with two units at most.

    Example:
        >>> [duration(s) for s in (0.42, 38.2, 150, 4321)]
        ['0.4 s', '38 s', '2 min 30 s', '1 h 12 min']
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def size(count: float | None) -> str:
    """Bytes, decimal.

    Example:
        >>> [size(n) for n in (0, 999, 88_200, 1_420_000_000)]
        ['0 B', '999 B', '88.2 kB', '1.42 GB']
    """
    if count is None or not math.isfinite(count):
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def amount(count: float | None) -> str:
    """A count, short once it is large.

    Example:
        >>> [amount(n) for n in (576, 9_500, 4_720_000, 134_515_008)]
        ['576', '9,500', '4.72 million', '135 million']
    """
    if count is None or not math.isfinite(count):
        return "–"
    for scale, word in ((10**9, " billion"), (10**6, " million")):
        if abs(count) >= scale * 0.9995:
            return f"{count / scale:.3g}{word}"
    return f"{count:,.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    """A measured number: fixed digits for ordinary sizes, scientific for very small ones.

    Example:
        >>> [figure(v) for v in (0.8235, 1.5e-6, None, 0.0)]
        ['0.824', '1.5e-06', '–', '0.000']
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value and abs(value) < 10**-digits:
        return f"{value:.2g}"
    return f"{value:.{digits}f}"
