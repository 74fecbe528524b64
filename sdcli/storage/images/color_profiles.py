"""Convert pixels from the color profile of their file to sRGB."""

from __future__ import annotations

import itertools
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL.Image import Image

_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The color space of a profile, and the mode of the pixels that it is for."""
_LEVELS: Final = (0, 32, 96, 128, 192, 255)
_LONGEST_NAME: Final = 60


def from_profile(image: Image, data: bytes, mode: str) -> tuple[Image, list[str]]:
    """Convert an image in RGB or CMYK to sRGB, and return notes on what was done.

    `data` is the profile, and `mode` the mode of the pixels in the file. An image whose profile is
    sRGB, or cannot be used, comes back unchanged.
    """
    try:
        from PIL import ImageCms
    except ImportError:  # a Pillow that was built without LittleCMS
        return image, ["its color profile was ignored: Pillow has no LittleCMS"]
    # LittleCMS is given whatever a file holds.
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
        needed = _MODES[profile.profile.xcolor_space.strip()]
        transform: Any = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), needed, "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
        name = ImageCms.getProfileDescription(profile).strip()[:_LONGEST_NAME]
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError, TypeError):
        return image, ["its color profile cannot be read, and was ignored"]
    if not _fits(mode, needed):
        return image, [f"its color profile is for {needed} pixels, and was ignored"]
    if needed == "RGB" and _is_srgb(transform):
        return image, []
    converted = transform.apply(image.convert(needed))
    return converted, [f"converted to sRGB from the color profile {name or 'without a name'!r}"]


def _fits(mode: str, needed: str) -> bool:
    is_grey = mode in ("1", "L", "LA", "La") or mode.startswith("I")
    return {"L": is_grey, "CMYK": mode == "CMYK"}.get(needed, mode not in ("CMYK", "LAB"))


def _is_srgb(transform: Any) -> bool:
    """Whether no color changes by more than the rounding."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    colors = bytes(itertools.chain.from_iterable(itertools.product(_LEVELS, repeat=3)))
    before = pillow.frombytes("RGB", (len(colors) // 3, 1), colors)
    after = transform.apply(before).tobytes()
    return all(abs(a - b) <= 1 for a, b in zip(colors, after, strict=True))
