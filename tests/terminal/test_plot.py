"""Plots in plain characters, of any values."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from sdcli.terminal.plot import plot


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf)), st.booleans())
def test_any_values_can_be_plotted(values: list[float], log: bool) -> None:
    lines = plot("title", values, log=log, height=9, width=60)
    assert lines[0] == "title"
    drawable = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    assert len(lines) == (1 + 9 + 2 if drawable else 1)
    marks = sum(line.count("*") for line in lines[1:10])
    assert marks <= len(drawable)
    assert bool(marks) == bool(drawable)
    margin = lines[1].index("|") + 1 if drawable else 0
    assert all(len(line) <= margin + 60 for line in lines[1:10])


def test_rising_values_rise() -> None:
    lines = plot("rising", [1.0, 2.0, 3.0], height=3)
    columns = [line.index("*") for line in lines[1:4]]
    assert columns == sorted(columns, reverse=True)
    assert lines[1].lstrip().startswith("3 |")


def test_a_logarithmic_axis_makes_powers_straight() -> None:
    lines = plot("powers", [1.0, 10.0, 100.0], log=True, height=3, width=5)
    assert [line.partition("|")[2] for line in lines[1:4]] == ["    *", "  *", "*"]
