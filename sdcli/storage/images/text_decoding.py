"""Decode text of image files, whose encodings are often not those that their formats demand."""

from __future__ import annotations

import codecs
import re
from typing import Final

UNICODE_PREFIX: Final = b"UNICODE\0"
_OTHER_PREFIXES: Final = (b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"\0" * 8)


def decode_text(data: bytes) -> str:
    """Decode text as UTF-8, and what is not UTF-8 as Latin-1.

    PNG and EXIF demand Latin-1 or ASCII, but several programs write UTF-8, which Latin-1 text
    hardly ever is by chance.
    """
    try:
        return clean(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return clean(data.decode("latin-1"))


def redecode(text: str) -> str:
    """Decode text again that was taken for Latin-1."""
    try:
        return decode_text(text.encode("latin-1"))
    except UnicodeEncodeError:
        return clean(text)


def decode_utf16(data: bytes, order: str) -> str:
    """Decode UTF-16 of a known byte order ("le" or "be")."""
    return clean(data.decode(f"utf-16-{order}", errors="replace"))


def comment_text(comment: object) -> str | None:
    """Decode EXIF's UserComment as Pillow returns it, bytes or text; None for anything else."""
    if not isinstance(comment, bytes):
        return redecode(comment) if isinstance(comment, str) else None
    if comment.startswith(UNICODE_PREFIX):
        return _decode_unicode(comment.removeprefix(UNICODE_PREFIX))
    for prefix in _OTHER_PREFIXES:
        comment = comment.removeprefix(prefix)
    return decode_text(comment)


def clean(text: str) -> str:
    """Remove the NULs that pad a text, and replace others: no text has any."""
    return text.strip("\0").replace("\0", "\ufffd")


def _decode_unicode(data: bytes) -> str:
    """Decode a comment that is marked as Unicode: UTF-16 of either byte order, or UTF-8.

    The byte order of the EXIF data decides nothing: A1111 always writes big-endian text, other
    programs follow the file.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return clean(data.decode("utf-16", errors="replace"))
    if _is_utf8(data):
        return decode_text(data)
    texts = [data.decode(f"utf-16-{order}", errors="replace") for order in ("be", "le")]
    return clean(max(texts, key=lambda text: sum(map(str.isascii, text))))


def _is_utf8(data: bytes) -> bool:
    """Whether text is UTF-8 rather than UTF-16, in which every ASCII character has a NUL."""
    try:
        text = data.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        return False
    # UTF-16 without a NUL has no ASCII; as UTF-8 it would be valid only by chance, and then have
    # control characters. Text in UTF-8 has letters and spaces of ASCII nearly always.
    return bool(text) and not re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text)
