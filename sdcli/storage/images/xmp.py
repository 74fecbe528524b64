"""Read the texts that programs put into the XMP of an image, such as Draw Things."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree

from sdcli.storage.images.text_decoding import clean

_NAMES: Final = ("UserComment", "description", "title", "CreatorTool", "parameters", "prompt")
"""Local names of the properties that may say how an image was made."""
_PACKET: Final = re.compile(r"^\s*<\?xpacket[^>]*\?>")
_MAX_LENGTH: Final = 16 * 2**20


def read_xmp(text: str) -> dict[str, str]:
    """Return the texts of an XMP packet, as "XMP UserComment"; the packet itself without any."""
    if not text.strip():
        return {}
    texts = dict(_properties(text))
    return texts or {"XMP": text}


def _properties(text: str) -> list[tuple[str, str]]:
    # Entities are of no use in XMP, and could expand without end.
    if len(text) > _MAX_LENGTH or re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        return []
    try:
        root = ElementTree.fromstring(_PACKET.sub("", text.strip("\0\ufeff")))
    except (ElementTree.ParseError, ValueError, RecursionError):
        return []
    found = []
    for element in root.iter():
        for name, value in element.attrib.items():
            found.append((_local(name), value))
        # Alternatives by language are list items within the property.
        inner = " ".join(filter(None, map(str.strip, element.itertext())))
        found.append((_local(element.tag), inner if _local(element.tag) in _NAMES else ""))
    return [(f"XMP {name}", clean(value)) for name, value in found if name in _NAMES and value]


def _local(name: object) -> str:
    return str(name).rpartition("}")[2]
