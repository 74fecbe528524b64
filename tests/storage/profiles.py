"""Small ICC profiles to test with, written from the specification ICC.1:2001-04."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_D50 = (0.9642, 1.0, 0.8249)
_ADOBE = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}
"""The primaries of Adobe RGB (1998), adapted to D50."""


def matrix_profile(space: bytes, gamma: float, name: str) -> bytes:
    """A profile of RGB, with the primaries of Adobe RGB (1998), or of grey."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"desc": _description(name), b"wtpt": _xyz(_D50)}
    if space == b"GRAY":
        return _profile(space, b"XYZ ", {**tags, b"kTRC": curve})
    tags |= {tag: _xyz(values) for tag, values in _ADOBE.items()}
    return _profile(space, b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def cmyk_profile(lightness: int = 50) -> bytes:
    """A profile that makes one grey, of this L* in CIELAB, of every ink."""
    identity = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0))
    matrix = struct.pack(">9i", *(65536 * (i in (0, 4, 8)) for i in range(9)))
    grid = bytes((round(lightness * 2.55), 128, 128)) * 2**4
    table = head + matrix + identity * 4 + grid + identity * 3
    return _profile(b"CMYK", b"Lab ", {
        b"desc": _description("Inks"), b"wtpt": _xyz(_D50), b"A2B0": table,
    })  # fmt: skip


def _profile(space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(data), b"\0" * 4, 0x02400000, kind, space,
                       connection, b"acsp").ljust(68, b"\0")  # fmt: skip
    return (head + _xyz(_D50)[8:]).ljust(128, b"\0") + table + data


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _description(name: str) -> bytes:
    text = name.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
