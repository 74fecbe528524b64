"""Draw line charts with error bars, as images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sdcli.numerics.axes import nice_levels
from sdcli.storage.images.contact_sheet import BACKGROUND, TEXT, draw_centred
from sdcli.storage.images.label_text import fit_label, line_height, load_font
from sdcli.storage.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.ImageDraw import ImageDraw

_GRID_LINE, _LEVEL_LINE, _LEVEL_TEXT = "#dddddd", "#888888", "#666666"
_COLORS: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b",
)  # fmt: skip
"""Colours that people with any kind of colour vision can tell apart (Okabe and Ito)."""
_CORNERS: Final = (32, 4, 3)
"""Corners of the marks: after the last colour, they start again with another mark."""
_TITLE_LINES: Final = 2
_SMOOTHING: Final = 2
"""Pixels are drawn that many times larger, and averaged."""


@dataclass(frozen=True, kw_only=True)
class ChartPoint:
    """A point of a line; `spread` is half the length of its error bar."""

    x: float
    y: float
    spread: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines by their names, over a logarithmic x axis. `level` is a value of y to mark and name.

    At least one line has a point, and x is above zero. With `linear`, the x axis is.
    """

    title: str
    x_label: str
    lines: Mapping[str, Sequence[ChartPoint]]
    level: float | None = None
    level_label: str = ""
    linear: bool = False


def draw_chart(chart: Chart, size: tuple[int, int], font_size: int) -> NDArray[np.uint8]:
    """Draw a chart of a width and height, as (height, width, 3), with a legend on its right."""
    import numpy as np
    from PIL import Image, ImageDraw

    large = (size[0] * _SMOOTHING, size[1] * _SMOOTHING)
    image = Image.new("RGB", large, BACKGROUND)
    plane = _Plane.fit(chart, large, font_size * _SMOOTHING)
    draw = ImageDraw.Draw(image)
    title = fit_label(chart.title, load_font(plane.size), large[0] - plane.size, _TITLE_LINES)
    draw_centred(draw, (large[0] / 2, plane.top / 2), title, load_font(plane.size))
    _draw_axes(draw, plane, chart)
    has_bars = any(point.spread for line in chart.lines.values() for point in line)
    for number, (name, points) in enumerate(chart.lines.items()):
        shift = plane.offset(number, len(chart.lines)) if has_bars else 0.0
        _draw_line(draw, plane, number, points, shift)
        _draw_legend_entry(draw, plane, number, name)
    return np.array(image.resize(size, Image.Resampling.BOX))


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """The rectangle of the lines in pixels, and the ranges of its axes."""

    left: float
    top: float
    right: float
    bottom: float
    xs: tuple[float, ...]
    levels: tuple[float, ...]
    size: int
    linear: bool

    @classmethod
    def fit(cls, chart: Chart, image: tuple[int, int], size: int) -> _Plane:
        """Leave space for the labels of the axes and the legend."""
        points = [point for line in chart.lines.values() for point in line]
        values = [p.y + sign * p.spread for p in points for sign in (-1, 1)]
        values += [] if chart.level is None else [chart.level]
        legend = max(load_font(size).getlength(one_line(name)) for name in chart.lines)
        return cls(
            left=size * 3.5,
            top=size * (1.25 * _TITLE_LINES + 1),
            right=image[0] - legend - size * 3.5,
            bottom=image[1] - size * 3.5,
            xs=tuple(sorted({point.x for point in points})),
            levels=nice_levels(min(values), max(values)),
            size=size,
            linear=chart.linear,
        )

    @property
    def stroke(self) -> int:
        """Width of thin lines, by the size of the text."""
        return max(_SMOOTHING, self.size // 14)

    def x(self, value: float) -> float:
        """The column of a value of x."""
        scale = float if self.linear else math.log
        low, high = scale(self.xs[0]), scale(self.xs[-1])
        share = (scale(value) - low) / (high - low) if high > low else 0.5
        # Space before the first and behind the last point, also for what is drawn beside them.
        return self.left + self.size + share * (self.right - self.left - 2 * self.size)

    def offset(self, number: int, lines: int) -> float:
        """How far a line's points are from their column: error bars would hide one another."""
        step = min(self.size / 2, 1.5 * self.size / max(1, lines - 1))
        return (number - (lines - 1) / 2) * step

    def y(self, value: float) -> float:
        """The row of a value of y."""
        low, high = self.levels[0], self.levels[-1]
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def _draw_axes(draw: ImageDraw, plane: _Plane, chart: Chart) -> None:
    font, size = load_font(plane.size), plane.size
    middle = (plane.left + plane.right) / 2
    below = (middle, plane.bottom + size * 2.5)
    draw.text(below, chart.x_label, fill=TEXT, font=font, anchor="mm")
    for level in plane.levels:
        row = plane.y(level)
        draw.line((plane.left, row, plane.right, row), fill=_GRID_LINE, width=plane.stroke)
        draw.text((plane.left - size / 2, row), f"{level:g}", fill=TEXT, font=font, anchor="rm")
    _draw_x_labels(draw, plane)
    if chart.level is not None:
        row = plane.y(chart.level)
        draw.line((plane.left, row, plane.right, row), fill=_LEVEL_LINE, width=2 * plane.stroke)
        above = (plane.right - size / 2, row - size / 4)
        draw.text(above, chart.level_label, fill=_LEVEL_TEXT, font=font, anchor="rb")


def _draw_x_labels(draw: ImageDraw, plane: _Plane) -> None:
    font, size = load_font(plane.size), plane.size
    free = 0.0
    for value in plane.xs:
        column, text = plane.x(value), f"{value:g}"
        half = font.getlength(text) / 2
        draw.line((column, plane.bottom, column, plane.bottom + size / 4), fill=TEXT)
        # Labels that would overlap are left out.
        if column - half >= free:
            draw.text((column, plane.bottom + size), text, fill=TEXT, font=font, anchor="mm")
            free = column + half + size / 2


def _draw_line(
    draw: ImageDraw, plane: _Plane, number: int, points: Sequence[ChartPoint], shift: float
) -> None:
    color = _COLORS[number % len(_COLORS)]
    places = [(plane.x(point.x) + shift, plane.y(point.y)) for point in points]
    if len(places) > 1:
        draw.line(places, fill=color, width=2 * plane.stroke, joint="curve")
    for point, place in zip(points, places, strict=True):
        if point.spread:
            ends = (plane.y(point.y - point.spread), plane.y(point.y + point.spread))
            draw.line((place[0], ends[0], place[0], ends[1]), fill=color, width=plane.stroke)
        _draw_mark(draw, place, number, plane.size / 4)


def _draw_mark(draw: ImageDraw, place: tuple[float, float], number: int, radius: float) -> None:
    corners = _CORNERS[number // len(_COLORS) % len(_CORNERS)]
    color = _COLORS[number % len(_COLORS)]
    draw.regular_polygon((*place, radius), corners, fill=color)


def _draw_legend_entry(draw: ImageDraw, plane: _Plane, number: int, name: str) -> None:
    row = plane.top + (number + 0.5) * line_height(plane.size)
    left = plane.right + plane.size
    _draw_mark(draw, (left, row), number, plane.size / 4)
    font = load_font(plane.size)
    beside = (left + plane.size / 2 + plane.size / 4, row)
    draw.text(beside, one_line(name), fill=TEXT, font=font, anchor="lm")
