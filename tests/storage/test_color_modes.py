"""Test that images of every mode that Pillow opens have the right pixels, or are refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli.errors import UsageError
from sdcli.storage.images.color_modes import PixelSource, to_rgb
from sdcli.storage.images.pixels import read_pixels
from tests.storage.png_files import chunk

GREY = [0, 257, 32768, 65535]
"""16-bit values of a row of pixels; 8 bits: 0, 1, 128 (rounded), 255."""
WHITE = "transparency became white"
REDUCED = "16-bit grey was reduced to 8 bits"
CMYK = "CMYK was converted without a colour profile"


def wide(dtype: str = "<u2") -> Image.Image:
    return Image.fromarray(np.array([GREY], dtype))


def row(mode: str, *pixels: object) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def palette(mode: str, colors: list[int], **info: object) -> Image.Image:
    image = row("P", 0, 1)
    image.putpalette(colors, mode)
    image.info.update(info)
    return image


RED, CLEAR_RED = (255, 0, 0), (255, 255, 255)
FILES = {
    "1": (row("1", 0, 255), ".png", [(0, 0, 0), (255, 255, 255)], ()),
    "L": (row("L", 0, 7), ".png", [(0, 0, 0), (7, 7, 7)], ()),
    "LA": (row("LA", (7, 255), (7, 0)), ".png", [(7, 7, 7), CLEAR_RED], (WHITE,)),
    "I;16 PNG": (wide(), ".png", [(v,) * 3 for v in (0, 1, 128, 255)], (REDUCED,)),
    "I;16 TIFF": (wide(), ".tif", [(v,) * 3 for v in (0, 1, 128, 255)], (REDUCED,)),
    "I;16 JPEG 2000": (wide(), ".jp2", [(v,) * 3 for v in (0, 1, 128, 255)], (REDUCED,)),
    "I;16B": (wide(">u2"), ".tif", [(v,) * 3 for v in (0, 1, 128, 255)], (REDUCED,)),
    "I, a PGM": (wide(), ".pgm", [(v,) * 3 for v in (0, 1, 128, 255)], (REDUCED,)),
    "I;16 exact": (
        Image.fromarray(np.array([[257 * 9]], "<u2")), ".png", [(9, 9, 9)], (),
    ),
    "P": (palette("RGB", [255, 0, 0, 0, 255, 0]), ".png", [RED, (0, 255, 0)], ()),
    "P, one clear": (
        palette("RGB", [255, 0, 0, 0, 255, 0], transparency=1), ".png", [RED, CLEAR_RED], (WHITE,),
    ),
    "P, alpha bytes": (
        palette("RGB", [255, 0, 0, 0, 255, 0], transparency=b"\xff\x00"), ".png",
        [RED, CLEAR_RED], (WHITE,),
    ),
    "P, alpha palette": (
        palette("RGBA", [255, 0, 0, 255, 0, 255, 0, 0]), ".png", [RED, CLEAR_RED], (WHITE,),
    ),
    "RGB": (row("RGB", RED), ".png", [RED], ()),
    "RGB, one clear": (row("RGB", RED, (1, 2, 3)), ".png", [RED, CLEAR_RED], (WHITE,)),
    "RGBA": (row("RGBA", (*RED, 255), (*RED, 0)), ".png", [RED, CLEAR_RED], (WHITE,)),
    "RGBA half": (row("RGBA", (0, 0, 0, 128)), ".png", [(127, 127, 127)], (WHITE,)),
    "RGBX": (row("RGBX", (*RED, 0)), ".tif", [RED], ()),
    "CMYK": (row("CMYK", (0, 255, 255, 0)), ".tif", [RED], (CMYK,)),
    "YCbCr": (row("YCbCr", (76, 85, 255)), ".tif", [(254, 0, 0)], ()),
    "LAB": (row("LAB", (255, 128, 128), (0, 128, 128)), ".tif", [(255,) * 3, (0,) * 3], ()),
    "PA": (row("PA", (0, 255), (0, 0)), ".tif", [(0, 0, 0), CLEAR_RED], (WHITE,)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_every_mode_has_the_right_pixels(tmp_path: Path, name: str) -> None:
    image, suffix, expected, notes = FILES[name]
    path = tmp_path / f"a{suffix}"
    options = {"transparency": (1, 2, 3)} if name == "RGB, one clear" else {}
    if suffix == ".jp2":
        options = {"irreversible": False}
    image.save(path, **options)
    pixels, described = read_pixels(path)
    # LittleCMS is off by one.
    assert np.abs(pixels[0].astype(int) - np.array(expected)).max() <= (name == "LAB")
    assert described == notes


MEMORY = {
    "HSV": (row("HSV", (0, 255, 255)), [RED]),
    "La": (row("LA", (7, 255), (7, 0)).convert("La"), [(7, 7, 7), CLEAR_RED]),
    "RGBa": (row("RGBA", (*RED, 255), (*RED, 0)).convert("RGBa"), [RED, CLEAR_RED]),
}


@pytest.mark.parametrize("mode", MEMORY)
def test_modes_that_no_format_writes_are_converted(mode: str) -> None:
    image, expected = MEMORY[mode]
    assert image.mode == mode
    rgb, _ = to_rgb(image, PixelSource.of(image))
    assert [rgb.getpixel((x, 0)) for x in range(rgb.width)] == expected


@pytest.mark.parametrize(
    ("mode", "dtype"), [("I", "<i4"), ("F", "<f4")]
)  # fmt: skip
def test_a_mode_without_a_known_range_is_refused_by_name(
    tmp_path: Path, mode: str, dtype: str
) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0, 70000]], dtype)).save(path)
    with pytest.raises(UsageError, match=f"a.tif: pixels of Pillow's mode {mode} ") as caught:
        read_pixels(path)
    assert caught.value.exit_code == 2


def test_a_tiff_of_12_bits_or_with_white_as_zero_is_scaled(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 4095]], "<u2"))
    rgb, _ = to_rgb(image, PixelSource("TIFF", "I;12"))
    assert [rgb.getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), (255, 255, 255)]
    path = tmp_path / "a.tif"
    wide().save(path, tiffinfo={262: 0})
    assert read_pixels(path)[0][0, :, 0].tolist() == [255, 254, 127, 0]


def test_a_clear_value_of_16_bits_becomes_white(tmp_path: Path) -> None:
    image = wide()
    image.save(tmp_path / "a.png", transparency=257)
    pixels, notes = read_pixels(tmp_path / "a.png")
    assert (pixels[0, :, 0].tolist(), WHITE in notes) == ([0, 255, 128, 255], True)


def test_what_is_lost_of_colours_and_frames_is_noted(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    pixels, notes = read_pixels(tmp_path / "a.gif")
    assert (pixels == RED).all()
    assert notes == ("only the first of its images is used",)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = zlib.compress(b"\0" + struct.pack(">HHH", 65535, 256, 0))
    (tmp_path / "b.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    pixels, notes = read_pixels(tmp_path / "b.png")
    assert pixels.tolist() == [[[255, 1, 0]]]
    assert notes == ("16 bits per channel were reduced to 8",)
