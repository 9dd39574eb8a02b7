"""Small SVG charts: points, lines, a dashed level, a marked point, axes with units.  No dependency.

A `Chart` collects layers in data coordinates and writes one <svg>; colors come from CSS classes of
the page (`report_page.py`), so light and dark need no second drawing.  Not here: what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TypeAlias

Pairs: TypeAlias = Sequence[tuple[float, float]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between low and high, roughly `about` of them.

    Example:
        >>> ticks(0.52, 0.83)
        [0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
    """
    if not high > low:
        return [low]
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(math.log(s / rough)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def smooth(values: Sequence[float], width: float, places: Sequence[int]) -> list[float]:
    """Gaussian means of `values` (index distance, standard deviation `width`) at some places."""
    reach = max(1, int(3 * width))
    weights = [math.exp(-0.5 * (d / width) ** 2) for d in range(reach + 1)]
    found = []
    for place in places:
        near = range(max(0, place - reach), min(len(values), place + reach + 1))
        total = sum(weights[abs(i - place)] for i in near)
        found.append(sum(weights[abs(i - place)] * values[i] for i in near) / total)
    return found


def span(values: Sequence[float], *, trim: float = 0.0, pad: float = 0.06) -> tuple[float, float]:
    """The range of values without the outer `trim` share on each side, padded."""
    if not values:
        return 0.0, 1.0
    ordered = sorted(values)
    cut = int(trim * len(ordered))
    low, high = ordered[cut], ordered[-1 - cut]
    room = (high - low) * pad or abs(high) * 0.05 or 0.5
    return low - room, high + room


class Chart:
    """One chart; add layers from back to front, then `svg`."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], *, width: int = 880, height: int = 300
    ) -> None:
        self.x, self.y = x, y
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = 66, 14, 18, 54
        self._axes: list[str] = []
        self._layers: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Data to drawing coordinates."""
        wide = self.width - self.left - self.right
        high = self.height - self.top - self.bottom
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        return round(self.left + across * wide, 1), round(self.top + (1 - up) * high, 1)

    def grid(self, show: Callable[[float], str]) -> None:
        """Horizontal hairlines with their values."""
        for value in ticks(*self.y):
            left, y = self.at(self.x[0], value)
            self._axes.append(f'<path class="hair" d="M{left} {y}H{self.width - self.right}"/>')
            self._axes.append(
                f'<text class="tick end" x="{left - 10}" y="{y + 4}">{escape(show(value))}</text>'
            )

    def bottom_axis(
        self, names: Sequence[str], rows: Sequence[Callable[[float], str]], about: int = 7
    ) -> None:
        """Tick values under the chart: the first row in its own numbers, others said in other units."""
        base = self.height - self.bottom
        self._axes.append(f'<path class="base" d="M{self.left} {base}H{self.width - self.right}"/>')
        for k, (name, show) in enumerate(zip(names, rows, strict=True)):
            y, style = base + 20 + 17 * k, "tick" if k == 0 else "tick faint"
            self._axes.append(
                f'<text class="{style} name end" x="{self.left - 10}" y="{y}">{escape(name)}</text>'
            )
            for value in ticks(*self.x, about=about):
                x = self.at(value, self.y[0])[0]
                close = x > self.width - self.right - 12
                anchor, at = ("end", self.width - self.right) if close else ("middle", x)
                self._axes.append(
                    f'<text class="{style} {anchor}" x="{at}" y="{y}">{escape(show(value))}</text>'
                )
                if k == 0:
                    self._axes.append(f'<path class="base" d="M{x} {base}v4"/>')

    def points(self, pairs: Pairs, style: str) -> None:
        """Round points, all in one path; those outside the axes are left out."""
        inside = [p for p in pairs if self.y[0] <= p[1] <= self.y[1] and self.x[0] <= p[0] <= self.x[1]]
        if inside:
            moves = "".join("M{} {}h0".format(*self.at(*p)) for p in inside)
            self._layers.append(f'<path class="{style}" d="{moves}"/>')

    def line(self, pairs: Pairs, style: str) -> None:
        """A line through the pairs, held inside the axes."""
        held = [(x, min(max(y, self.y[0]), self.y[1])) for x, y in pairs]
        if held:
            d = "L".join("{} {}".format(*self.at(*p)) for p in held)
            self._layers.append(f'<path class="{style}" d="M{d}"/>')

    def level(self, y: float, label: str, *, above: bool = False) -> None:
        """A dashed horizontal line with its name at the right end."""
        left, at = self.at(self.x[0], y)
        end = self.width - self.right
        self._layers.append(f'<path class="level" d="M{left} {at}H{end}"/>')
        shift = -7 if above else 16
        self._layers.append(f'<text class="said end" x="{end}" y="{at + shift}">{escape(label)}</text>')

    def mark(self, x: float, y: float, label: str, *, around: Pairs = ()) -> None:
        """A ringed point with its name, above the highest of the nearby pairs, inside the drawing."""
        px, py = self.at(x, y)
        reach = 7.0 * len(label)
        anchor = "end" if px > self.width - reach else "start" if px < self.left + reach else "middle"
        near = [self.at(*p) for p in around]
        side = {"end": (reach, 8.0), "start": (8.0, reach), "middle": (reach / 2, reach / 2)}[anchor]
        top = min([py, *(b for a, b in near if px - side[0] <= a <= px + side[1])])
        self._layers.append(f'<circle class="best" cx="{px}" cy="{py}" r="5.5"/>')
        self._layers.append(
            f'<text class="said strong {anchor}" x="{px}" y="{max(top - 13, 11)}">{escape(label)}</text>'
        )

    def write(self, x: float, y: float, text: str, style: str) -> None:
        """Words at a place of the drawing, in its own coordinates."""
        self._axes.append(f'<text class="{style}" x="{x}" y="{y}">{escape(text)}</text>')

    def svg(self, title: str) -> str:
        """The finished drawing; `title` is what a screen reader says."""
        body = "".join([*self._axes, *self._layers])
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(title)}">'
            f"<title>{escape(title)}</title>{body}</svg>"
        )
