"""Test that images are read as pixels, whatever they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sdcli.errors import CorruptError, UsageError
from sdcli.storage.images.embedded_text import read_embedded_text
from sdcli.storage.images.opening import open_image
from sdcli.storage.images.pixels import read_pixels
from sdcli.storage.images.text_decoding import comment_text


def save(path: Path, mode: str, color: object, **options: object) -> Path:
    Image.new(mode, (20, 12), color).save(path, **options)  # type: ignore[arg-type]
    return path


def test_transparency_becomes_white_and_is_noted(tmp_path: Path) -> None:
    pixels, notes = read_pixels(save(tmp_path / "a.png", "RGBA", (9, 9, 9, 0)))
    assert (pixels == 255).all()
    assert notes == ("transparency became white",)
    pixels, notes = read_pixels(save(tmp_path / "b.png", "RGBA", (9, 9, 9, 255)))
    assert (pixels == 9).all()
    assert notes == ()


def test_the_edges_are_cut_to_the_grid(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", "RGB", "red")
    pixels, notes = read_pixels(path, grid=8)
    assert pixels.shape == (8, 16, 3)
    assert "cut from 20x12 to 16x8" in notes[0]
    with pytest.raises(UsageError, match="smaller than 16x16"):
        read_pixels(path, grid=16)


def test_an_image_is_turned_as_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    pixels, _ = read_pixels(save(tmp_path / "a.png", "RGB", "red", exif=exif))
    assert pixels.shape == (20, 12, 3)


def test_missing_and_damaged_files_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"), open_image(tmp_path / "none.png"):
        pass
    path = save(tmp_path / "a.png", "RGB", "red")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CorruptError, match="not a readable image"):
        read_pixels(path)


def test_errors_in_the_block_are_errors_of_the_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", "RGB", "red")
    with pytest.raises(CorruptError, match=r"a\.png"), open_image(path):
        raise SyntaxError("broken chunk")
    with pytest.raises(ZeroDivisionError), open_image(path):
        raise ZeroDivisionError


def test_no_text_is_read_from_files_that_are_not_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    assert read_embedded_text(tmp_path / "a.png") == {}
    assert read_embedded_text(tmp_path / "none.png") == {}


@pytest.mark.parametrize(
    ("comment", "text"),
    [(None, None), (3, None), ("a", "a"), (b"ASCII\0\0\0a\0", "a"), (b"UNICODE\0\0a", "a")],
)
def test_comments_of_other_types_are_no_text(comment: object, text: str | None) -> None:
    assert comment_text(comment) == text
