"""Names in the order in which people count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdcli.inputs.natural_order import natural_key


def test_numbers_count_as_numbers() -> None:
    names = ["a", "a/10.png", "a/9.png", "10", "9", "b2c10", "b2c9", "b10"]
    expected = ["9", "10", "a", "a/9.png", "a/10.png", "b2c9", "b2c10", "b10"]
    assert sorted(names, key=natural_key) == expected


@given(st.lists(st.text(alphabet="01²٣ab/.", max_size=6)))
def test_all_names_have_an_order(names: list[str]) -> None:
    once = sorted(names, key=natural_key)
    assert sorted(once, key=natural_key) == once
