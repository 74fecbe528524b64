"""Draw plots in plain characters."""

from __future__ import annotations

import math
from collections.abc import Sequence


def plot(
    title: str, values: Sequence[float], *, log: bool = False, height: int = 9, width: int = 50
) -> list[str]:
    """Plot the values over their positions 1…n, in `width` columns and those of the labels.

    `log` makes the value axis logarithmic and leaves out values that are not above zero. Values
    that are not finite are left out; if none remain, there is only the title.
    """
    points = [(i, _scale(v, log)) for i, v in enumerate(values) if _is_drawable(v, log)]
    if not points:
        return [title]
    low, high = min(y for _, y in points), max(y for _, y in points)
    columns = min(width, max(2 * len(values) - 1, 1))
    cells = [[" "] * columns for _ in range(height)]
    for i, y in points:
        column = round(i / max(len(values) - 1, 1) * (columns - 1))
        row = round((high - y) / (high - low) * (height - 1)) if high > low else height // 2
        cells[row][column] = "*"
    labels = [_label(_level(row, low, high, height), log) for row in range(height)]
    visible = [
        label if row % 4 == 0 or row == height - 1 else "" for row, label in enumerate(labels)
    ]
    margin = max(map(len, visible))
    lines = [
        f"{label:>{margin}} |{''.join(row)}".rstrip()
        for label, row in zip(visible, cells, strict=True)
    ]
    count = str(len(values))
    axis = f"{'1':<{max(columns - len(count), 1)}}{count}" if len(values) > 1 else "1"
    return [title, *lines, f"{'':>{margin}} +{'-' * columns}", f"{'':>{margin}}  {axis}"]


def _is_drawable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _scale(value: float, log: bool) -> float:
    return math.log(value) if log else value


def _level(row: int, low: float, high: float, height: int) -> float:
    return high - (high - low) * row / (height - 1)


def _label(level: float, log: bool) -> str:
    return f"{math.exp(level) if log else level:.3g}"
