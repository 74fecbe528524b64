"""Build PNG files by hand, also with headers that are not true."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def write_png(path: Path, width: int, height: int, *, data: bytes = b"", text: bytes = b"") -> Path:
    """Write a PNG of 1 bit a pixel with any size in its header, and a text after the pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + (chunk(b"tEXt", text) if text else b"")
        + chunk(b"IEND", b"")
    )
    return path
