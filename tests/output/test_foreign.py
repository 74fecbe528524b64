"""Strangers' records, one by one: what is taken, what is named, what is no record at all."""

from __future__ import annotations

import pytest

from sdcli.output import a1111

FIELDS = "Steps: 20, Sampler: Euler, Seed: 5, CFG scale: 7, Size: 512x512"


def test_a_name_without_a_value_hides_no_other() -> None:
    _, _, fields = a1111.parse(f"a cat\n{FIELDS.replace('Seed', 'Tiling, Seed')}, FreeU")
    expected = {"Steps": "20", "Sampler": "Euler", "Seed": "5", "CFG scale": "7", "Size": "512x512"}
    assert fields == expected


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("a sign: Negative prompt: x", "a sign: Negative prompt: x", ""),
        ("a\nNegative prompt: b\nNegative prompt: c", "a", "b\nNegative prompt: c"),
        ("Negative prompt: b", "", "b"),
        ("a\n  Negative prompt: b", "a", "b"),
    ],
)
def test_a_negative_prompt_begins_a_line(text: str, prompt: str, negative: str) -> None:
    assert a1111.parse(f"{text}\n{FIELDS}")[:2] == (prompt, negative)


@pytest.mark.parametrize("text", ["a cat", "a cat, Steps: 3", "x: y, z: w", "a\nb, c, d, e"])
def test_a_text_without_fields_is_all_prompt(text: str) -> None:
    assert a1111.parse(text) == (text, "", {})
