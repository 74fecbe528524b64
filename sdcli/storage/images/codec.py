"""Encode images with their records, and read the records back."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import OutputError, UsageError
from sdcli.storage.images.color_modes import PLAIN_MODES, PixelSource, to_rgb
from sdcli.storage.images.embed_metadata import exif_metadata, png_metadata
from sdcli.storage.images.embedded_text import (
    has_unicode_comment,
    read_exif,
    read_texts,
)
from sdcli.storage.images.opening import corrupt_image_error, open_header
from sdcli.storage.images.pixel_limit import exceeds_limit
from sdcli.storage.metadata import record as records

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS: Mapping[str, str] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Pillow's name of the format of each file suffix that is written."""

FILE_SCHEMA = "sdcli/file/1"
_RECORD_OBJECTS: Final = ("scheduler", "pixels", "versions", "weights")
"""Keys of a record that hold JSON objects, besides the request."""
_MAX_DEPTH: Final = 20


def encode_image(pixels: NDArray[np.uint8], suffix: str, record: Mapping[str, Any] | None) -> bytes:
    """Encode pixels (height, width, 3) and a record as an image file.

    PNG and WebP are lossless, JPEG is not. PNG carries the record in the text chunks `parameters`
    (A1111) and `sdcli` (JSON), the others in EXIF's UserComment and ImageDescription. Raises
    OutputError for a record that is too long for the format.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    image_format = FORMATS[suffix]
    try:
        if image_format == "PNG":
            image.save(buffer, image_format, pnginfo=png_metadata(record))
        elif image_format == "JPEG":
            # Without chroma subsampling, which blurs the edges of saturated colours.
            image.save(buffer, image_format, quality=95, subsampling=0, exif=exif_metadata(record))
        else:
            image.save(buffer, image_format, lossless=True, exif=exif_metadata(record))
    except ValueError as error:
        # EXIF fits into one JPEG segment of 64 KiB: "EXIF data is too long".
        raise OutputError(
            f"the record does not fit into {suffix}: {error}",
            code="output.record",
            hint="write a .png, or add --no-metadata",
        ) from error
    return buffer.getvalue()


def read_image_info(path: Path | str, *, with_hash: bool = True) -> dict[str, Any]:
    """Read size, format, pixel hash, record and A1111 text of an image as a JSON-able dictionary.

    The record and the text are None when there are none; the hash is None for an image with more
    pixels than the limit, or of a mode that is not converted. Without `with_hash` it is always
    None, and no pixels are decoded. Raises UsageError when there is no
    file, CorruptError when it is not an image, is damaged, or holds a record that cannot be read.
    """
    path = Path(path)
    with open_header(path) as image:
        image_format = str(image.format)
        parameters, record_text = _read_texts(path, image)
        width, height = image.size
        pixels_hash = _hash_pixels(image) if with_hash else None
    return {
        "schema": FILE_SCHEMA,
        "path": str(path),
        "format": image_format,
        "width": width,
        "height": height,
        "pixels_sha256": pixels_hash,
        "record": None if record_text is None else _parse_record(path, record_text),
        "parameters": parameters,
    }


def _hash_pixels(image: Image) -> str | None:
    """Return the hash of the pixels; None for more than the limit, which are not decoded."""
    if exceeds_limit(*image.size):
        return None
    source = PixelSource.of(image)
    image.load()
    try:
        # Images written here are RGB; `convert` keeps the colour under transparency, as ever.
        pixels = image.convert("RGB") if image.mode in PLAIN_MODES else to_rgb(image, source)[0]
    except UsageError:
        # A mode without a known range can have a record all the same.
        return None
    return records.rgb_sha256(*pixels.size, pixels.tobytes())


def _read_texts(path: Path, image: Image) -> tuple[str | None, str | None]:
    """The A1111 text and the JSON of the record in an open image."""
    texts = read_texts(path, image)
    if image.format == "PNG":
        return texts.get("parameters"), texts.get("sdcli")
    is_comment = has_unicode_comment(read_exif(path, image))
    description = texts.get("ImageDescription", "")
    is_record = records.SCHEMA in description
    return texts.get("UserComment") if is_comment else None, description if is_record else None


def _parse_record(path: Path, text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise corrupt_image_error(path, f"its record is not JSON ({error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("request"), dict):
        raise corrupt_image_error(path, "its record holds no request")
    objects = (record.get(key, {}) for key in _RECORD_OBJECTS)
    # Printing a record that nests too deeply would overflow the stack later.
    if not all(isinstance(value, dict) for value in objects) or _is_too_deep(record):
        raise corrupt_image_error(path, "its record has an unknown layout")
    return record


def _is_too_deep(value: object, levels: int = _MAX_DEPTH) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_too_deep(item, levels - 1) for item in items)
