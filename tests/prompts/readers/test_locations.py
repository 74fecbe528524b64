"""Test the conversion of offsets to locations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdcli.prompts.readers.locations import LineIndex, nearest_location


@given(st.text("ab\n", max_size=30), st.data())
def test_a_location_leads_back_to_the_offset(text, data):
    offset = data.draw(st.integers(0, len(text)))
    location = LineIndex(text, "f").location(offset)
    lines = text.split("\n")
    assert sum(len(line) + 1 for line in lines[: location.line - 1]) + location.column - 1 == offset
    assert 1 <= location.column <= len(lines[location.line - 1]) + 1


def test_an_unknown_value_has_the_location_of_the_one_around_it():
    locations = {("a",): 1, ("a", 0, "b"): 2}
    assert nearest_location(locations, ("a", 0, "b", "c"), 9) == 2
    assert nearest_location(locations, ("a", 1), 9) == 1
    assert nearest_location(locations, ("x", "y"), 9) == 9
