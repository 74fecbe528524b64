"""Embed records in PNG, JPEG and WebP files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdcli.storage.images.embedded_text import (
    EXIF_IFD,
    IMAGE_DESCRIPTION,
    USER_COMMENT,
)
from sdcli.storage.images.text_decoding import UNICODE_PREFIX
from sdcli.storage.metadata import record as records
from sdcli.storage.metadata.a1111_parameters import format_parameters

if TYPE_CHECKING:
    from PIL.Image import Exif


def png_metadata(record: Mapping[str, Any] | None) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if record is not None:
        # Images decoded from another tool's latents have a record with an empty request.
        if record["request"]:
            # Pillow makes it an iTXt chunk when it is not Latin-1.
            info.add_text("parameters", format_parameters(record))
        info.add_itxt("sdcli", records.record_json(record))
    return info


def exif_metadata(record: Mapping[str, Any] | None) -> Exif:
    from PIL.Image import Exif

    exif = Exif()
    if record is not None:
        if record["request"]:
            text = format_parameters(record)
            exif[EXIF_IFD] = {USER_COMMENT: UNICODE_PREFIX + text.encode("utf-16-be")}
        # EXIF allows ASCII only here, which json.dumps writes by default.
        exif[IMAGE_DESCRIPTION] = json.dumps(record, separators=(",", ":"))
    return exif
