"""Test that charts show every point at its place."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.storage.images.line_chart import Chart, ChartPoint, draw_chart


def places(chart: np.ndarray, *, orange: bool = False) -> np.ndarray:
    """Rows and columns of the pixels of the first line, or of the second one, without its mark.

    Grey text has as much red as blue.
    """
    redness = chart[..., 0].astype(int) - chart[..., 2]
    found = np.argwhere((redness if orange else -redness) > 60)
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
    line = places(draw(rising=points(10, 20, 40)))
    left, right = line[line[:, 1].argmin()], line[line[:, 1].argmax()]
    assert left[0] > right[0] + 100


@pytest.mark.parametrize(("linear", "share"), [(True, 0.5), (False, 0.85)])
def test_the_x_axis_is_logarithmic_or_linear(linear: bool, share: float) -> None:
    peak = [ChartPoint(x=x, y=y) for x, y in ((1, 10), (50, 40), (99, 10))]
    chart = Chart(title="title", x_label="step", lines={"loss": peak}, linear=linear)
    line = places(draw_chart(chart, (720, 300), 14))
    place = line[line[:, 0].argmin()][1]
    left, right = line[:, 1].min(), line[:, 1].max()
    assert (place - left) / (right - left) == pytest.approx(share, abs=0.1)


def test_each_line_has_its_own_colour() -> None:
    chart = draw(low=points(10, 10), high=points(40, 40))
    assert places(chart)[:, 0].mean() > places(chart, orange=True)[:, 0].mean() + 100


def test_the_error_bar_is_twice_the_spread() -> None:
    bare = np.ptp(places(draw(line=points(20, 20)))[:, 0])
    barred = np.ptp(places(draw(line=points(20, 20, spread=10)))[:, 0])
    assert barred > bare + 100


@pytest.mark.parametrize("count", [2, 4, 6])
def test_no_error_bar_hides_another(count: int) -> None:
    lines = {str(number): points(20, 20, spread=10) for number in range(count)}
    chart = draw(**lines)[60:90].reshape(30, -1, 3).astype(int)
    bars = np.ptp(chart, axis=2).mean(axis=0) > 20
    assert np.count_nonzero(np.diff(bars.astype(int)) == 1) >= 2 * count


@pytest.mark.parametrize("count", [1, 9, 30])
def test_any_number_of_lines_is_drawn(count: int) -> None:
    lines = {f"a scheduler of a long name {n}": points(10 + n) for n in range(count)}
    chart = draw(**lines)
    assert chart.shape == (300, 720, 3)
    assert (chart != 255).any()
