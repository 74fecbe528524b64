"""The suffixes of images are those of the formats that are written."""

from __future__ import annotations

from sdcli.inputs.image_suffixes import IMAGE_SUFFIXES
from sdcli.storage.images.codec import FORMATS


def test_every_suffix_has_a_format() -> None:
    assert tuple(FORMATS) == IMAGE_SUFFIXES
