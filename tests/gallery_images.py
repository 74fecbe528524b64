"""Small images with records, made without a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sdcli.storage.images.codec import encode_image, read_image_info
from sdcli.storage.images.pixels import read_pixels

_README_SHEET = Path(__file__).parents[1] / ".readme" / "sheet.png"
_SAMPLE = Path(__file__).parent / "compat" / "v0_1_0" / "images" / "plain.png"


def write_image(path: Path, pixels: Any = None, /, **fields: Any) -> Path:
    """Write an image whose record has these fields of a request, and `extra` if it is among them.

    Without pixels, it is a plain color of its seed.
    """
    record = read_image_info(_SAMPLE, with_hash=False)["record"]
    extra = fields.pop("extra", None)
    request = {**record["request"], **fields}
    record |= {"request": request} | ({"extra": extra} if extra else {})
    if pixels is None:
        pixels = plain_color(int(request["seed"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(pixels, path.suffix, record))
    return path


def plain_color(seed: int, size: int = 32) -> Any:
    """Pixels of one color, another one for each seed."""
    color = np.random.default_rng(seed).integers(0, 256, 3, np.uint8)
    return np.broadcast_to(color, (size, size, 3)).copy()


def write_batch(folder: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write an image for each name and its fields."""
    for name, fields in rows.items():
        write_image(folder / name, **fields)


def drawn_pixels() -> list[Any]:
    """Pictures that the embedded model drew."""
    return [read_pixels(path)[0] for path in sorted(_SAMPLE.parent.glob("*.png"))]


def sheet_images() -> list[Any]:
    """The 36 pictures of the README's sheet, without their labels."""
    sheet = read_pixels(_README_SHEET)[0]
    places = [(4 + 178 * row, 4 + 136 * column) for row in range(6) for column in range(6)]
    return [sheet[top : top + 128, left : left + 128] for top, left in places]
