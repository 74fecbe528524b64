"""Test that pixels are converted from the color profile of their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from sdcli.storage.images.pixels import read_pixels
from tests.storage.profiles import cmyk_profile, matrix_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = matrix_profile(b"RGB ", 2.2, "Wide")
"""A profile with the primaries of Adobe RGB (1998)."""
GREY = matrix_profile(b"GRAY", 1.0, "Linear grey")


def read(folder: Path, image: Image.Image, profile: bytes, suffix: str = ".png") -> Any:
    path = folder / f"a{suffix}"
    image.save(path, icc_profile=profile)
    pixels, notes = read_pixels(path)
    return pixels[0, 0].tolist(), notes


def image(mode: str, color: Any) -> Image.Image:
    return Image.new(mode, (9, 9), color)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_a_wide_color_is_converted_and_told_once(tmp_path: Path, suffix: str) -> None:
    color, notes = read(tmp_path, image("RGB", (100, 150, 100)), WIDE, suffix)
    # By the formulas of Adobe RGB (1998) and sRGB.
    assert np.abs(np.array(color) - [64, 150, 98]).max() <= 4
    assert notes == ("converted to sRGB from the color profile 'Wide'",)


@pytest.mark.parametrize("profile", [SRGB, b""])
def test_srgb_and_no_profile_change_nothing(tmp_path: Path, profile: bytes) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(noise).save(path, icc_profile=profile)
    pixels, notes = read_pixels(path)
    assert np.array_equal(pixels, noise)
    assert notes == ()


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 55, [128] * 3),
        ("LA", (55, 255), [128] * 3),
        ("RGBA", (100, 150, 100, 255), [64, 150, 98]),
        ("RGBA", (100, 150, 100, 0), [255] * 3),
        ("P", 0, [64, 150, 98]),
        ("I;16", 55 * 257, [128] * 3),
    ],
)
def test_every_mode_is_converted(tmp_path: Path, mode: str, color: Any, expected: Any) -> None:
    picture = image(mode, color)
    if mode == "P":
        picture.putpalette([100, 150, 100])
    profile = WIDE if mode in ("RGBA", "P") else GREY
    pixel, notes = read(tmp_path, picture, profile)
    assert np.abs(np.array(pixel) - expected).max() <= 2
    assert sum("converted to sRGB" in note for note in notes) == 1


def test_cmyk_is_converted_by_its_own_profile(tmp_path: Path) -> None:
    pixel, notes = read(tmp_path, image("CMYK", (0, 99, 0, 9)), cmyk_profile(50), ".tif")
    # L* 50 is the grey 119 of sRGB.
    assert np.abs(np.array(pixel) - 119).max() <= 2
    assert notes == ("converted to sRGB from the color profile 'Inks'",)


@pytest.mark.parametrize(
    ("mode", "profile", "reason"),
    [
        ("RGB", b"x", "cannot be read"),
        ("RGB", WIDE[:200], "cannot be read"),
        ("RGB", GREY, "is for L pixels"),
        ("CMYK", WIDE, "without a colour profile"),
        ("CMYK", WIDE, "is for RGB pixels"),
        ("CMYK", b"x", "cannot be read"),
        ("RGB", WIDE[:16] + b"LUV " + WIDE[20:], "cannot be read"),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored_and_told(
    tmp_path: Path, mode: str, profile: bytes, reason: str
) -> None:
    picture = image(mode, 9 if mode == "L" else tuple(range(3, 3 + len(mode))))
    _, notes = read(tmp_path, picture, profile, ".tif")
    assert any(reason in note for note in notes)
