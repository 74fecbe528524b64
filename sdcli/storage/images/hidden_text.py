"""Read text from the lowest bits of an image's pixels, as NovelAI hides it in the alpha channel.

The bits run down the columns, the highest of a byte first: a signature, the number of bits in 32
bits, then UTF-8, which is packed with gzip for the signatures with "comp".
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from sdcli.storage.images.text_decoding import decode_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_SIGNATURES: Final = {
    "RGBA": {b"stealth_pnginfo": False, b"stealth_pngcomp": True},
    "RGB": {b"stealth_rgbinfo": False, b"stealth_rgbcomp": True},
}
_SIGNATURE_BYTES: Final = 15
_LENGTH_BYTES: Final = 4
_MAX_TEXT: Final = 16 * 2**20
_GZIP: Final = 31
"""zlib's name for data with the header of gzip."""


def read_hidden_texts(image: Image) -> dict[str, str]:
    """Return the texts in the pixels of a decoded image, by the keywords of PNG chunks.

    NovelAI hides its chunks as a JSON object, A1111's extension its `parameters`.
    """
    for mode in ("RGBA", "RGB"):
        if image.mode == "RGBA" or image.mode == mode:
            text = _read(_bits(image, mode), _SIGNATURES[mode])
            if text:
                return _by_keyword(text)
    return {}


def _bits(image: Image, mode: str) -> NDArray[np.uint8]:
    """The lowest bits of the alpha channel, or of the three colours, column by column."""
    import numpy as np

    pixels = np.asarray(image)
    channels = pixels[..., 3:4] if mode == "RGBA" else pixels[..., :3]
    return (channels.transpose(1, 0, 2) & np.uint8(1)).reshape(-1)


def _read(bits: NDArray[np.uint8], signatures: dict[bytes, bool]) -> str | None:
    start = _SIGNATURE_BYTES + _LENGTH_BYTES
    head = _to_bytes(bits, 0, start)
    if head[:_SIGNATURE_BYTES] not in signatures or len(head) < start:
        return None
    length = int.from_bytes(head[_SIGNATURE_BYTES:], "big") // 8
    if not 0 < length <= min(_MAX_TEXT, len(bits) // 8 - start):
        return None
    data = _to_bytes(bits, start, length)
    return decode_text(_unpack(data) if signatures[head[:_SIGNATURE_BYTES]] else data)


def _to_bytes(bits: NDArray[np.uint8], start: int, count: int) -> bytes:
    import numpy as np

    return np.packbits(bits[8 * start : 8 * (start + count)]).tobytes()


def _unpack(data: bytes) -> bytes:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        text = decompressor.decompress(data, _MAX_TEXT)
    except zlib.error:
        return b""
    return b"" if decompressor.unconsumed_tail else text


def _by_keyword(text: str) -> dict[str, str]:
    try:
        facts: Any = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    texts = facts.items() if isinstance(facts, dict) else ()
    named = {key: value for key, value in texts if isinstance(value, str) and value}
    return named if "Comment" in named else {"parameters": text}
