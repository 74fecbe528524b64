"""Pixels and their record to the bytes of an image file, and back."""

from __future__ import annotations

import codecs
import io
import json
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.errors import CorruptError, OutputError, UsageError
from sdcli.storage.metadata import record as records
from sdcli.storage.metadata.a1111 import format_parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Exif, Image

FORMATS: Mapping[str, str] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
FILE_SCHEMA = "sdcli/file/1"

_USER_COMMENT, _EXIF_IFD, _IMAGE_DESCRIPTION = 0x9286, 0x8769, 0x010E
_UNICODE, _ASCII = b"UNICODE\0", b"ASCII\0\0\0"
UNREADABLE = (
    OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, AttributeError,
    EOFError, OverflowError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises for files that are not what they say: it has no one error for that."""


def encode_image(pixels: NDArray[np.uint8], suffix: str, record: Mapping[str, Any] | None) -> bytes:
    """The file's bytes; PNG and WebP keep every pixel, JPEG does not.

    PNG has the text chunks `parameters` (A1111) and `sdcli` (JSON); the others have EXIF
    UserComment and ImageDescription. Raises OutputError for a record too long for the format.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    kind = FORMATS[suffix]
    try:
        if kind == "PNG":
            image.save(buffer, kind, pnginfo=_png_info(record))
        elif kind == "JPEG":
            image.save(buffer, kind, quality=95, subsampling=0, exif=_exif(record))
        else:
            image.save(buffer, kind, lossless=True, exif=_exif(record))
    except ValueError as error:  # JPEG: "EXIF data is too long"
        raise OutputError(
            f"the record does not fit into {suffix}: {error}",
            code="output.record",
            hint="write a .png, or add --no-metadata",
        ) from error
    return buffer.getvalue()


def read_image_info(path: Path | str) -> dict[str, Any]:
    """What an image file says of itself: size, hash of its pixels, record and A1111 text, or None.

    Nothing in it is executed. Raises UsageError when there is no file, CorruptError when it is no
    image or a broken one, or holds a record that cannot be read.
    """
    from PIL import Image

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no file at {path}", code="usage.file")
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # of odd metadata; what matters raises
            image.load()
            parameters, record_text = _texts(image)
            pixels = image.convert("RGB")
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise _corrupt(path, f"not a readable image ({error})") from error
    return {
        "schema": FILE_SCHEMA,
        "path": str(path),
        "format": str(image.format),
        "width": pixels.width,
        "height": pixels.height,
        "pixels_sha256": records.rgb_sha256(*pixels.size, pixels.tobytes()),
        "record": None if record_text is None else _record(path, record_text),
        "parameters": parameters,
    }


def _png_info(record: Mapping[str, Any] | None) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if record is not None:
        if record["request"]:  # latents of another tool have none, but a record all the same
            info.add_text("parameters", format_parameters(record))  # iTXt when not Latin-1
        info.add_itxt("sdcli", records.record_json(record))
    return info


def _exif(record: Mapping[str, Any] | None) -> Exif:
    from PIL.Image import Exif

    exif = Exif()
    if record is not None:
        if record["request"]:
            text = format_parameters(record)
            exif[_EXIF_IFD] = {_USER_COMMENT: _UNICODE + text.encode("utf-16-be")}
        exif[_IMAGE_DESCRIPTION] = json.dumps(record, separators=(",", ":"))  # must be ASCII
    return exif


def _texts(image: Image) -> tuple[str | None, str | None]:
    """(A1111 text, our JSON) of an open image."""
    info = image.info
    if image.format == "PNG":
        return _text(info.get("parameters")), _text(info.get("sdcli"))
    exif = image.getexif()
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    description = _text(exif.get(_IMAGE_DESCRIPTION))
    ours = description if description and records.SCHEMA in description else None
    if isinstance(comment, bytes) and not comment.startswith(_UNICODE):
        comment = None  # of a camera, most likely; A1111 writes no other
    return comment_text(comment), ours


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str) else None


def comment_text(comment: object) -> str | None:
    """EXIF's UserComment, as Pillow gives it, as text; None for none."""
    if not isinstance(comment, bytes):
        return _text(comment)
    if comment.startswith(_UNICODE):
        return _utf16(comment.removeprefix(_UNICODE)).rstrip("\0")
    return comment.removeprefix(_ASCII).decode("utf-8", errors="replace").strip("\0")


def _utf16(data: bytes) -> str:
    """Text in the byte order that has more ASCII in it.

    The file's own order tells nothing: A1111 writes big-endian into any, others as the file is.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    texts = [data.decode(f"utf-16-{order}", errors="replace") for order in ("be", "le")]
    return max(texts, key=lambda text: sum(map(str.isascii, text)))


def _record(path: Path, text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _corrupt(path, f"its record is not JSON ({error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("request"), dict):
        raise _corrupt(path, "its record holds no request")
    parts = ("scheduler", "pixels", "versions", "weights")
    if any(not isinstance(record.get(part, {}), dict) for part in parts) or _is_deep(record):
        raise _corrupt(path, "its record is not laid out as sdcli does")
    return record


def _is_deep(value: object, levels: int = 20) -> bool:
    """Whether a JSON value nests deeper than any record of ours."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deep(item, levels - 1) for item in inner)


def _corrupt(path: Path, what: str) -> CorruptError:
    return CorruptError(f"{path}: {what}", code="image.corrupt", hint="make or copy it again")
