"""Plots of several series in plain characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.terminal.series_plot import plot_series

points = st.lists(st.tuples(st.integers(1, 1000), st.floats(-50, 100)), min_size=1, max_size=8)


@given(st.lists(points, min_size=1, max_size=8), st.floats(0, 60))
def test_any_series_can_be_plotted(lines: list[list[tuple[int, float]]], level: float) -> None:
    series = {f"name {i}": line for i, line in enumerate(lines)}
    plot = plot_series("title", series, x_label="calls", level=level)
    assert plot[0] == "title"
    assert all(
        f"{letter} name {i}" in " ".join(plot) for i, letter in enumerate("ABCDEFGH"[: len(lines)])
    )
    rows = [line.partition("|")[2] for line in plot if "|" in line]
    assert sum(char.isalpha() or char == "*" for row in rows for char in row) >= 1


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_plot_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    series = {
        f"DPM++ 2M SDE Karras {i}": [(2**n, 10.0 * n + i) for n in range(1, 7)] for i in range(9)
    }
    lines = plot_series("title", series, x_label="UNet calls", level=30)
    assert columns - 30 < max(map(len, lines)) <= min(columns, 104) or columns == 200
    assert max(map(len, lines)) <= columns


def test_marks_stand_at_their_values() -> None:
    series = {"low": [(1, 0.0), (4, 0.0)], "high": [(1, 30.0), (4, 0.0)]}
    lines = plot_series("title", series, x_label="x")
    rows = [line.partition("|")[2] for line in lines if "|" in line]
    assert (rows[0][0], rows[-1][0], rows[-1].rstrip()[-1]) == ("B", "A", "*")
    assert "* several" in lines[-1]


def test_without_points_there_is_only_the_title() -> None:
    assert plot_series("title", {"a": []}, x_label="x", level=30) == ["title"]
