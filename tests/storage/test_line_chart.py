"""Test that charts show every point at its place."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.storage.images.line_chart import Chart, ChartPoint, draw_chart

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def places(chart: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns of the pixels of a line, without its mark in the legend."""
    found = np.argwhere((np.abs(chart - np.array(color)) < 64).all(-1))
    return found[found[:, 1] < found[:, 1].max() - 40]


def draw(**lines: list[ChartPoint]) -> np.ndarray:
    return draw_chart(
        Chart(title="title", x_label="calls", lines=lines, level=30, level_label="30 dB"),
        (720, 300),
        14,
    )


def points(*values: float, spread: float = 0.0) -> list[ChartPoint]:
    return [ChartPoint(x=2.0**i, y=y, spread=spread) for i, y in enumerate(values, 1)]


def test_higher_values_are_higher_and_later_ones_farther_right() -> None:
    line = places(draw(rising=points(10, 20, 40)), BLUE)
    left, right = line[line[:, 1].argmin()], line[line[:, 1].argmax()]
    assert left[0] > right[0] + 100


def test_each_line_has_its_own_colour() -> None:
    chart = draw(low=points(10, 10), high=points(40, 40))
    assert places(chart, BLUE)[:, 0].mean() > places(chart, ORANGE)[:, 0].mean() + 100


def test_the_error_bar_is_twice_the_spread() -> None:
    bare = np.ptp(places(draw(line=points(20, 20)), BLUE)[:, 0])
    barred = np.ptp(places(draw(line=points(20, 20, spread=10)), BLUE)[:, 0])
    assert barred > bare + 100


@pytest.mark.parametrize("count", [1, 9, 30])
def test_any_number_of_lines_is_drawn(count: int) -> None:
    lines = {f"a scheduler of a long name {n}": points(10 + n) for n in range(count)}
    chart = draw(**lines)
    assert chart.shape == (300, 720, 3)
    assert (chart != 255).any()
