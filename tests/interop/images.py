"""Write small images with the texts of other programs, in every container that they use."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

EXIF_IFD = 0x8769


def png(path: Path, texts: Mapping[str, str]) -> Path:
    """Write a PNG with text chunks."""
    info = PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def with_exif(
    path: Path,
    first: Mapping[int, object] | None = None,
    second: Mapping[int, object] | None = None,
) -> Path:
    """Write an image with tags in the first directory of its EXIF, and in the second."""
    exif = Image.Exif()
    for tag, value in (first or {}).items():
        exif[tag] = value
    if second:
        exif[EXIF_IFD] = dict(second)
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def with_xmp(path: Path, packet: str) -> Path:
    """Write an image with an XMP packet."""
    if path.suffix == ".png":
        return png(path, {"XML:com.adobe.xmp": packet})
    Image.new("RGB", (8, 8)).save(path, xmp=packet.encode())
    return path


def with_hidden_text(path: Path, text: str, *, packed: bool, colors: bool = False) -> Path:
    """Hide text in the lowest bits of the alpha channel, or of the colours, as NovelAI does."""
    data = gzip.compress(text.encode()) if packed else text.encode()
    kind = ("rgb" if colors else "png") + ("comp" if packed else "info")
    length = (8 * len(data)).to_bytes(4, "big")
    bits = np.unpackbits(np.frombuffer(f"stealth_{kind}".encode() + length + data, np.uint8))
    side = 96
    pixels = np.full((side, side, 3 if colors else 4), 254, np.uint8)
    # Column by column: the transposed picture is row by row.
    columns = pixels.transpose(1, 0, 2)[..., :3] if colors else pixels.transpose(1, 0, 2)[..., 3]
    flat = columns.reshape(-1).copy()
    flat[: len(bits)] |= bits
    columns[...] = flat.reshape(columns.shape)
    options = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    Image.fromarray(pixels).save(path, **options)
    return path
