"""Draw several series in one plot of plain characters."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sdcli.numerics.axes import nice_levels
from sdcli.terminal.tables import terminal_width

Points = Sequence[tuple[float, float]]

_MARKS: Final = string.ascii_uppercase + string.ascii_lowercase
_SEVERAL: Final = "*"
_MAX_WIDTH: Final = 100
_ROWS_PER_LEVEL: Final = 3


def plot_series(
    title: str,
    series: Mapping[str, Points],
    *,
    x_label: str,
    level: float | None = None,
    linear: bool = False,
) -> list[str]:
    """Plot series over a logarithmic or a `linear` x axis, in lines no wider than the terminal.

    Each series has a letter, in the order of the mapping; a star stands for several in one place.
    `level` is a value of y to mark by a line of dots. x is above zero, and all values are finite.
    Without any point, there is only the title.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        return [title]
    plane = _Plane.fit(points, level, linear=linear)
    cells = plane.draw(series, level)
    legend = [f"{mark} {name}" for mark, name in zip(_MARKS, series, strict=False)]
    several = [f"{_SEVERAL} several"] if any(_SEVERAL in row for row in cells) else []
    return [
        title,
        *plane.with_axis(cells),
        f"{'':>{plane.margin}} +{'-' * plane.columns}",
        f"{'':>{plane.margin}}  {plane.x_axis()}",
        f"{'':>{plane.margin}}  {x_label}",
        *_join_entries([*legend, *several]),
    ]


def _join_entries(entries: Sequence[str]) -> list[str]:
    """As many entries of the legend in a line as fit."""
    lines: list[str] = []
    for entry in entries:
        if lines and len(lines[-1]) + len(entry) + 3 <= terminal_width():
            lines[-1] += f"   {entry}"
        else:
            lines.append(f"  {entry}")
    return lines


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """The cells of a plot, and the ranges of its axes."""

    columns: int
    margin: int
    xs: tuple[float, ...]
    levels: tuple[float, ...]
    linear: bool

    @classmethod
    def fit(cls, points: Points, level: float | None, *, linear: bool) -> _Plane:
        values = [y for _, y in points] + ([] if level is None else [level])
        levels = nice_levels(min(values), max(values))
        margin = max(len(f"{value:g}") for value in levels)
        width = min(_MAX_WIDTH, terminal_width())
        xs = tuple(sorted({x for x, _ in points}))
        columns = max(width - margin - 2, 10)
        return cls(columns=columns, margin=margin, xs=xs, levels=levels, linear=linear)

    @property
    def rows(self) -> int:
        return (len(self.levels) - 1) * _ROWS_PER_LEVEL + 1

    def draw(self, series: Mapping[str, Points], level: float | None) -> list[list[str]]:
        """Return the characters of all cells, by rows."""
        cells = [[" "] * self.columns for _ in range(self.rows)]
        if level is not None:
            cells[self._row(level)] = [". "[i % 2] for i in range(self.columns)]
        taken: dict[tuple[int, int], str] = {}
        for number, points in enumerate(series.values()):
            mark = _MARKS[number % len(_MARKS)]
            for x, y in points:
                place = self._row(y), self._column(x)
                taken[place] = mark if taken.get(place, mark) == mark else _SEVERAL
        for (row, column), mark in taken.items():
            cells[row][column] = mark
        return cells

    def with_axis(self, cells: Sequence[Sequence[str]]) -> list[str]:
        """Return the rows as lines, with the round values on their left."""
        labels = {self._row(value): f"{value:g}" for value in self.levels}
        return [
            f"{labels.get(row, ''):>{self.margin}} |{''.join(line)}".rstrip()
            for row, line in enumerate(cells)
        ]

    def x_axis(self) -> str:
        """Return the values of x under their columns, without those that find no space."""
        line = ""
        for x in self.xs:
            text = f"{x:g}"
            start = min(self._column(x) - len(text) // 2, self.columns - len(text))
            if not line or start > len(line):
                line = line.ljust(max(start, 0)) + text
        return line

    def _row(self, y: float) -> int:
        low, high = self.levels[0], self.levels[-1]
        return round((high - y) / (high - low) * (self.rows - 1))

    def _column(self, x: float) -> int:
        value, low, high = (v if self.linear else math.log(v) for v in (x, self.xs[0], self.xs[-1]))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(share * (self.columns - 1))
