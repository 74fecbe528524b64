"""Sizes as people write them."""

from __future__ import annotations

import pytest

from sdcli.inputs.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512x768", (512, 768)),
        (" 512X768 ", (512, 768)),
        ("512 × 768", (512, 768)),
        ("0x0", (0, 0)),
        ("", None),
        ("512", None),
        ("512x", None),
        ("512x768x3", None),
        ("-1x8", None),
        ("1234567x8", None),
        ("٣x٣", None),
    ],
)
def test_a_size_is_two_numbers(text: str, size: tuple[int, int] | None) -> None:
    assert parse_size(text) == size
