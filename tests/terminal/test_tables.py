"""Tables: aligned plain text outside of a terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.terminal.output import print_lines
from sdcli.terminal.tables import (
    align_rows,
    format_bytes,
    print_columns,
    print_facts,
    shorten_list,
    text_bar,
    wrap_text,
)

cells = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), max_size=9)


@given(st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=5),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
))  # fmt: skip
def test_every_cell_begins_and_ends_in_its_column(
    table: tuple[list[list[str]], list[bool]],
) -> None:
    rows, right = table
    widths = [max(len(row[i]) for row in rows) for i in range(len(right))]
    lines = align_rows(rows, right)
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        start = 0
        for cell, width, to_right in zip(row, widths, right, strict=True):
            column = line[start : start + width].ljust(width)
            assert column == (cell.rjust(width) if to_right else cell.ljust(width))
            start += width + 2


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    stream = io.StringIO()
    print_columns(("name", "steps", "note"), [("DDIM", 4, None), ("Euler a", 30, "x")], stream)
    assert stream.getvalue().splitlines() == [
        "name     steps  note",
        "DDIM         4  -",
        "Euler a     30  x",
    ]


def test_a_cell_cannot_break_its_line() -> None:
    stream = io.StringIO()
    print_columns(("prompt",), [("a\ncat\x1b[31m",)], stream)
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 60))
def test_bars_grow_with_their_value_and_stay_within_their_width(
    value: float, largest: float, width: int
) -> None:
    bar = text_bar(value, largest, width)
    assert len(bar) <= width
    assert len(text_bar(value / 2, largest, width)) <= len(bar)
    if largest > 0:
        assert text_bar(largest, largest, width) == "█" * width


@pytest.mark.parametrize("value", [float("nan"), -1.0, 0.0])
def test_what_is_not_above_zero_has_no_bar(value: float) -> None:
    assert text_bar(value, 1.0) == ""
    assert text_bar(1.0, value) == ""


def test_text_is_wrapped_to_the_width_with_its_indents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = wrap_text("a cat and a guitar on a blue background " * 3, 2, hanging=4)
    assert all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("  a")
    assert all(line.startswith(" " * 6) and line[6] != " " for line in lines[1:])


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (123_456, "123 kB"),
        (999_600, "1 MB"),
        (4_265_000_000, "4.26 GB"),
        (2e12, "2 TB"),
    ],
)
def test_sizes_have_three_digits(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_long_lists_are_shortened() -> None:
    assert shorten_list(list("abcde")) == "a, b, c, d, e"
    assert shorten_list(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_facts_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"a": 1, "b": None, "c": "", "d": 0})
    print_lines(["x", "y"])
    assert capsys.readouterr().out == "a: 1\nd: 0\nx\ny\n"


def test_facts_wider_than_the_terminal_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_facts({"sha256": "0123456789abcdef" * 4})
    # The terminal itself breaks the long word: it can be copied whole.
    assert capsys.readouterr().out.split() == ["sha256", "0123456789abcdef" * 4]


def test_the_title_after_a_wrapped_value_begins_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    ids = "101 102 103 104 105 106 107 108 109"
    print_columns(("word", "weight", "ids", "characters"), [("owl", "1.1", ids, "2-5")], stream)
    assert stream.getvalue().splitlines() == [
        "owl",
        "  weight: 1.1",
        "  ids:",
        "    101 102 103 104 105 106",
        "    107 108 109",
        "  characters: 2-5",
    ]
