"""Damaged and hostile images for the fuzz target: whatever is in the file, no traceback.

`cases(seed, count)` yields the name and the bytes of each image; the same seed gives the same ones.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.storage.png_files import chunk

_A1111 = "a cat\nNegative prompt: a dog\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 64x64"
_GRAPH = json.dumps(
    {
        "1": {"class_type": "StringConcatenate", "inputs": {"string_a": "a", "string_b": ["1", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["1", 0]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {"steps": 2, "cfg": 1, "sampler_name": "euler", "positive": ["2", 0]},
        },
    }
)
_RECORD = json.dumps({"schema": "sdcli/record/1", "request": {"prompt": "a cat", "seed": 5}})
_TEXTS = (
    {"parameters": _A1111},
    {"prompt": _GRAPH, "workflow": "{}"},
    {"sdcli": _RECORD},
    {"Comment": "[" * 2000, "parameters": '{"sui_image_params": {"prompt": []}}'},
    {"XML:com.adobe.xmp": "<x:a xmlns:x='y'><x:UserComment>{</x:UserComment></x:a>"},
)
_SUFFIXES: Mapping[str, str] = {
    "PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".png", "GIF": ".png",
}  # fmt: skip
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_LENGTHS = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def cases(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` images as (file name, bytes)."""
    choose = random.Random(seed)
    damages: tuple[Callable[[random.Random, bytes], bytes], ...] = (
        _truncate, _flip, _overwrite, _wrong_length, _wrong_size, _insert_chunk, _repeat,
    )  # fmt: skip
    for index in range(count):
        suffix, data = choose.choice(_whole_images())
        damage = choose.choice(damages)
        yield f"{index:05d}-{damage.__name__.strip('_')}{suffix}", damage(choose, data)


@cache
def _whole_images() -> list[tuple[str, bytes]]:
    """A small image of every format, mode and text that sdcli reads."""
    images = [(".png", _png(mode, _TEXTS[0])) for mode in _MODES]
    images += [(".png", _png("RGBA", texts)) for texts in _TEXTS]
    for image_format in ("JPEG", "WEBP", "TIFF", "GIF"):
        for text in (_A1111, f"prompt:{_GRAPH}", _RECORD):
            images.append((_SUFFIXES[image_format], _with_exif(image_format, text)))
    return images


def _png(mode: str, texts: Mapping[str, str]) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    for key, value in texts.items():
        info.add_itxt(key, value, zip=len(value) > 100)
    Image.new(mode, (24, 16)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _with_exif(image_format: str, text: str) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x010E] = exif[0x9286] = text
    if image_format != "TIFF":
        exif[0x8769] = {0x9286: b"UNICODE\0" + text.encode("utf-16-le")}
    options = {"comment": text} if image_format == "GIF" else {"exif": exif}
    Image.new("RGB", (24, 16), "red").save(buffer, image_format, **options)
    return buffer.getvalue()


def _truncate(choose: random.Random, data: bytes) -> bytes:
    return data[: choose.randrange(len(data))]


def _flip(choose: random.Random, data: bytes) -> bytes:
    flipped = bytearray(data)
    for _ in range(choose.randint(1, 8)):
        flipped[choose.randrange(len(flipped))] ^= 1 << choose.randrange(8)
    return bytes(flipped)


def _overwrite(choose: random.Random, data: bytes) -> bytes:
    start, length = choose.randrange(len(data)), choose.randint(1, 40)
    return data[:start] + choose.randbytes(length) + data[start + length :]


def _wrong_length(choose: random.Random, data: bytes) -> bytes:
    """Overwrite four bytes with a length: of a chunk in a PNG, of something else elsewhere."""
    starts = [
        position for position in range(8, len(data) - 8) if data[position : position + 4].isalpha()
    ]
    start = choose.choice(starts) - 4 if starts else choose.randrange(len(data))
    return data[:start] + struct.pack(">I", choose.choice(_LENGTHS)) + data[start + 4 :]


def _wrong_size(choose: random.Random, data: bytes) -> bytes:
    """Declare another size in the header of a PNG, with a right checksum."""
    if not data.startswith(b"\x89PNG"):
        return _flip(choose, data)
    width, height = (choose.choice((0, 1, 25, 65_536, 12_000_000, 2**31 - 1)) for _ in range(2))
    header = struct.pack(">II", width, height) + data[24:29]
    return data[:8] + chunk(b"IHDR", header) + data[33:]


def _insert_chunk(choose: random.Random, data: bytes) -> bytes:
    """Insert a chunk of random bytes, or of a text that expands a thousandfold."""
    kind = choose.choice((b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"acTL", b"tRNS", b"PLTE"))
    packed = b"parameters\0\0" + zlib.compress(bytes(10**6))
    content = choose.choice((choose.randbytes(choose.randint(0, 60)), packed))
    start = 33 if data.startswith(b"\x89PNG") else choose.randrange(len(data))
    return data[:start] + chunk(kind, content) + data[start:]


def _repeat(choose: random.Random, data: bytes) -> bytes:
    start = choose.randrange(len(data))
    end = min(len(data), start + choose.randint(1, 200))
    return data[:end] + data[start:end] * choose.randint(1, 20) + data[end:]


def write_cases(folder: Path, seed: int, count: int) -> Iterator[Path]:
    """Write each image under its name into a folder, one at a time."""
    for name, data in cases(seed, count):
        path = folder / name
        path.write_bytes(data)
        yield path
        path.unlink()
