"""The suffixes of image files that are read and written."""

from typing import Final

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
