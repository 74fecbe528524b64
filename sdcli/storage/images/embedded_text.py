"""Gather all text that programs embed in image files, whatever the container.

These are PNG chunks, EXIF tags of both directories, XMP, comments, and the lowest bits of pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import SdcliError
from sdcli.storage.images.hidden_text import read_hidden_texts
from sdcli.storage.images.opening import open_header
from sdcli.storage.images.pixel_limit import exceeds_limit
from sdcli.storage.images.png_chunks import read_png_texts
from sdcli.storage.images.text_decoding import (
    UNICODE_PREFIX,
    comment_text,
    decode_text,
    decode_utf16,
    redecode,
)
from sdcli.storage.images.xmp import read_xmp

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

EXIF_IFD: Final = 0x8769
USER_COMMENT: Final = 0x9286
IMAGE_DESCRIPTION: Final = 0x010E
PNG_XMP: Final = "XML:com.adobe.xmp"

_TAGS: Final[Mapping[int, str]] = {
    IMAGE_DESCRIPTION: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    USER_COMMENT: "UserComment",
    0x927C: "MakerNote",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
}
"""EXIF tags that hold text; the names of Microsoft's begin with XP."""
_EXIF_ERRORS: Final = (
    SyntaxError, ValueError, KeyError, TypeError, IndexError, OSError, EOFError, OverflowError,
    AttributeError, struct.error,
)  # fmt: skip
"""Exceptions of Pillow for damaged EXIF data, which leaves the image itself readable."""


def read_embedded_text(path: Path) -> dict[str, str]:
    """Gather all text of an image, by keyword of its chunk or name of its tag.

    Empty for a file that is missing or cannot be read. Hidden text is read only from images within
    the limit of pixels.
    """
    try:
        with open_header(path) as image:
            texts = read_texts(path, image)
    except SdcliError:
        return {}
    return _hidden_texts(path) | texts


def read_texts(path: Path, image: Image) -> dict[str, str]:
    """Gather the text of an open image that can be read without decoding its pixels."""
    texts: dict[str, str] = {}
    for name, value in image.info.items():
        if isinstance(value, str) and isinstance(name, str):
            texts[name] = redecode(value)
    if isinstance(comment := image.info.get("comment"), bytes):
        texts["comment"] = decode_text(comment)
    if isinstance(xmp := image.info.get("xmp"), bytes):
        texts |= read_xmp(decode_text(xmp))
    with path.open("rb") as file:
        chunks, _ = read_png_texts(file)
    if xmp_text := chunks.pop(PNG_XMP, ""):
        texts |= read_xmp(xmp_text)
    texts.pop(PNG_XMP, None)
    texts |= chunks | exif_texts(read_exif(path, image))
    return {name: text for name, text in texts.items() if text.strip()}


def read_exif(path: Path, image: Image) -> Exif:
    """Read the EXIF data of an image, empty if there is none or it is damaged."""
    from PIL.Image import Exif
    from PIL.Image import Image as AnyImage

    try:
        if image.format != "PNG":
            return image.getexif()
        # The PNG class would decode all pixels, because the chunk may come after them.
        exif = AnyImage.getexif(image)
        if not exif:
            with path.open("rb") as file:
                _, data = read_png_texts(file)
            exif.load(data)
    except _EXIF_ERRORS:
        return Exif()
    return exif


def exif_texts(exif: Exif) -> dict[str, str]:
    """Return the text tags of both directories of EXIF data, those of the first one last."""
    texts: dict[str, str] = {}
    for directory in (_directory(exif), exif):
        for tag, name in _TAGS.items():
            text = _tag_text(tag, directory)
            if text and text.strip() and text != texts.get(name):
                texts[f"{name} (IFD0)" if name in texts else name] = text
    return texts


def has_unicode_comment(exif: Exif) -> bool:
    """Whether the UserComment is marked as Unicode, as A1111's is and a camera's is not."""
    comment = _directory(exif).get(USER_COMMENT)
    return isinstance(comment, str) or (
        isinstance(comment, bytes) and comment.startswith(UNICODE_PREFIX)
    )


def _directory(exif: Exif) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(EXIF_IFD))
    except _EXIF_ERRORS:
        return {}


def _tag_text(tag: int, directory: Any) -> str | None:
    try:
        value = directory.get(tag)
    except _EXIF_ERRORS:
        return None
    if tag >= 0x9C9B and isinstance(value, bytes | tuple):
        return decode_utf16(bytes(value), "le")
    if tag == 0x927C and isinstance(value, bytes):
        # A camera's is binary; Fooocus writes the name of its scheme.
        return value.decode("ascii") if value.isascii() and value.isalnum() else None
    return comment_text(value)


def _hidden_texts(path: Path) -> dict[str, str]:
    try:
        with open_header(path) as image:
            if image.format not in ("PNG", "WEBP") or exceeds_limit(*image.size):
                return {}
            image.load()
            return read_hidden_texts(image)
    except SdcliError:
        return {}
