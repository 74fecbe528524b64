"""Test that untrusted text is safe in a terminal and in a file name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.storage.text import one_line, printable, slug

TEXTS = st.text(max_size=400)


@given(TEXTS)
def test_a_slug_is_a_short_plain_name(text: str) -> None:
    name = slug(text)
    assert 0 < len(name) <= 48
    assert all(char.isalnum() or char == "-" for char in name)
    assert len(name.encode()) < 200
    assert slug(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A cat, and a GUITAR!", "a-cat-and-a-guitar"),
        ("", "image"),
        ("…", "image"),
        ("ﬁsh", "fish"),
        ("猫 on a mat", "猫-on-a-mat"),
        ("word " * 20, "word-word-word-word-word-word-word-word-word"),
        ("x" * 60, "x" * 48),
        (f"{'x' * 48} y", "x" * 48),
    ],
)
def test_slugs_are_cut_between_words(text: str, name: str) -> None:
    assert slug(text) == name


@given(st.text(st.characters() | st.sampled_from("\x1b\x9b\u202e\u2028\n\r\0")))
def test_printable_text_has_no_control_characters(text: str) -> None:
    escaped = printable(text)
    assert not set(escaped) & set("\x1b\x9b\u202e\u2028\r\0")
    assert escaped.count("\n") == text.count("\n")
    assert printable(escaped) == escaped
    assert "\n" not in one_line(text)


@pytest.mark.parametrize("text", ["a cat", "çirkin kedi, 猫 🐱", "👩‍👧", "a\nb"])
def test_other_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


def test_escapes_name_the_character() -> None:
    assert printable("\x1b[31m\u202e") == "\\x1b[31m\\u202e"
    assert one_line("a\nb\r") == "a\\nb\\x0d"
