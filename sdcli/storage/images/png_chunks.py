"""Read all text and EXIF chunks of a PNG, of any size, also those after the pixels.

Pillow reads those after the pixels only with the pixels, and takes UTF-8 for Latin-1. The format:
https://www.w3.org/TR/png-3/#11textinfo
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from sdcli.storage.images.text_decoding import decode_text

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS: Final = (b"tEXt", b"zTXt", b"iTXt")
_EXIF_CHUNK: Final = b"eXIf"
_MAX_TEXT: Final = 16 * 2**20
"""Bytes of one text, packed or not. ComfyUI's largest workflows have one or two million."""
_MAX_TOTAL: Final = 64 * 2**20
"""Bytes of all texts of a file."""


def read_png_texts(file: BinaryIO) -> tuple[dict[str, str], bytes]:
    """Return the texts of a PNG by keyword, of several with one keyword the last, and its EXIF.

    Texts that are damaged or too long are left out. Both are empty for another format.
    """
    texts: dict[str, str] = {}
    exif = b""
    total = 0
    for kind, data in _text_chunks(file):
        if kind == _EXIF_CHUNK:
            exif = data
            continue
        keyword, text = _parse(kind, data)
        total += len(text)
        if total > _MAX_TOTAL:
            break
        if keyword and text:
            texts[keyword] = text
    return texts, exif


def _text_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, data) of each chunk of text or EXIF, skipping the others unread."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        end = file.tell() + length
        # A wrong length: there is no way to find the next chunk.
        if end > size:
            return
        if kind in (*_TEXT_CHUNKS, _EXIF_CHUNK) and length <= _MAX_TEXT:
            yield kind, file.read(length)
        file.seek(end + 4)  # the checksum, which other programs get wrong


def _parse(kind: bytes, data: bytes) -> tuple[str, str]:
    name, _, rest = data.partition(b"\0")
    keyword = name.decode("latin-1")
    if kind == b"tEXt":
        return keyword, decode_text(rest)
    if kind == b"zTXt":
        return keyword, decode_text(_inflate(rest[1:]))
    # iTXt: a flag, the method, the language and the translated keyword come before the text.
    is_packed, fields = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    text = fields[2] if len(fields) == 3 else b""
    return keyword, decode_text(_inflate(text) if is_packed else text)


def _inflate(data: bytes) -> bytes:
    """Decompress a text; empty if it is damaged or too long."""
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(data, _MAX_TEXT)
    except zlib.error:
        return b""
    return b"" if decompressor.unconsumed_tail else text
