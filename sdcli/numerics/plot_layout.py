"""Lay out line plots: where points and the labels of axes go, in any unit of length."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sdcli.numerics.axes import nice_levels

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Box:
    """The area of the lines within a plot of a width and height."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class PlotLayout:
    """Lines as places within the plot, and its ticks as places with their labels.

    `ends` are the x values at the left and the right side.
    """

    ends: tuple[float, float]
    lines: Mapping[str, Points]
    rows: Sequence[tuple[float, str]]
    columns: Sequence[tuple[float, str]]


def lay_out(lines: Mapping[str, Points], box: Box, *, log: bool) -> PlotLayout:
    """Lay out lines of finite points; with `log`, those above zero over a logarithmic y axis.

    At least one point is left.
    """
    kept = {name: [(x, y) for x, y in line if y > 0 or not log] for name, line in lines.items()}
    points = [point for line in kept.values() for point in line]
    xs = sorted({x for x, _ in points})
    ys = [y for _, y in points]
    levels = log_levels(min(ys), max(ys)) if log else nice_levels(min(ys), max(ys), 5)
    scale: Callable[[float], float] = math.log if log else float
    low, high = scale(levels[0]), scale(levels[-1])
    span = (xs[-1] - xs[0]) or 1.0

    def column(x: float) -> float:
        return box.left + (x - xs[0]) / span * (box.right - box.left)

    def row(y: float) -> float:
        return box.bottom - (scale(y) - low) / (high - low) * (box.bottom - box.top)

    return PlotLayout(
        ends=(xs[0], xs[-1]),
        lines={name: [(column(x), row(y)) for x, y in line] for name, line in kept.items()},
        rows=[(row(level), f"{level:g}") for level in levels],
        columns=[(column(x), f"{x:g}") for x in dict.fromkeys((xs[0], xs[-1]))],
    )


def log_levels(low: float, high: float) -> tuple[float, ...]:
    """Return 1, 2 or 5 times powers of ten, from at most `low` to at least `high`; both above 0.

    Of a range of more than three powers of ten, the powers only.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1,) if last - first > 3 else (1, 2, 5)
    levels = [round(f * 10.0**power, 12) for power in range(first, last + 1) for f in factors]
    # The levels next to both ends, so that no point lies outside.
    start = max((i for i, level in enumerate(levels) if level <= low), default=0)
    end = next((i for i, level in enumerate(levels) if level >= high), len(levels) - 1)
    return tuple(levels[start : max(end, start + 1) + 1])
