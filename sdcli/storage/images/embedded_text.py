"""Read text that programs embed in image files: PNG chunks and EXIF comments."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

from sdcli.errors import SdcliError
from sdcli.storage.images.opening import open_image

EXIF_IFD: Final = 0x8769
USER_COMMENT: Final = 0x9286
IMAGE_DESCRIPTION: Final = 0x010E
UNICODE_PREFIX: Final = b"UNICODE\0"
_ASCII_PREFIX: Final = b"ASCII\0\0\0"


def read_embedded_text(path: Path) -> dict[str, str]:
    """Read all text in an image: PNG chunks by keyword, and EXIF's "UserComment".

    Empty for a file that is missing or cannot be read.
    """
    try:
        with open_image(path) as image:
            texts = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            comment = image.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
    except SdcliError:
        return {}
    text = comment_text(comment)
    return texts if text is None else texts | {"UserComment": text}


def comment_text(comment: object) -> str | None:
    """Decode EXIF's UserComment as Pillow returns it, bytes or text; None for anything else."""
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else None
    if comment.startswith(UNICODE_PREFIX):
        return _decode_utf16(comment.removeprefix(UNICODE_PREFIX)).rstrip("\0")
    return comment.removeprefix(_ASCII_PREFIX).decode("utf-8", errors="replace").strip("\0")


def _decode_utf16(data: bytes) -> str:
    """Decode UTF-16 in the byte order that gives more ASCII characters.

    The byte order of the EXIF data decides nothing: A1111 always writes big-endian text, other
    programs follow the file.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    texts = [data.decode(f"utf-16-{order}", errors="replace") for order in ("be", "le")]
    return max(texts, key=lambda text: sum(map(str.isascii, text)))
