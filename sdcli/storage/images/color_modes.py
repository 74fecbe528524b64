"""Convert images of every mode that Pillow opens to RGB, noting what is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sdcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PLAIN_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
"""Modes of 8 bits that Pillow converts to RGB."""
_DIRECT: Final = ("1", "L", "P", "RGB", "RGBX", "YCbCr", "HSV")
"""Modes whose conversion in Pillow loses nothing but the rounding."""
_TRANSPARENT: Final = ("LA", "La", "PA", "RGBA", "RGBa")
_SIXTEEN_BITS: Final = ("I;16", "I;16L", "I;16B", "I;16N")
_FULL_RANGE_FORMATS: Final = ("PNG", "TIFF", "JPEG2000")
"""Formats whose 16-bit grey is unsigned."""
_PHOTOMETRIC: Final = 262
"""TIFF's PhotometricInterpretation, of which 0 means that 0 is white."""


@dataclass(frozen=True)
class PixelSource:
    """Facts of an open file that give its pixels their meaning; Pillow drops them on a copy."""

    format: str
    raw_mode: str
    is_white_zero: bool = False

    @classmethod
    def of(cls, image: Image) -> PixelSource:
        """Describe an image whose pixels are not decoded yet."""
        tiles = getattr(image, "tile", None) or [None]
        arguments = tiles[0][3] if tiles[0] else None
        raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        tags = getattr(image, "tag_v2", {})
        return cls(
            str(image.format), raw_mode if isinstance(raw_mode, str) else "",
            is_white_zero=tags.get(_PHOTOMETRIC) == 0,
        )  # fmt: skip

    @property
    def grey_maximum(self) -> int | None:
        """The value of white in a mode of more than 8 bits, None if the file does not tell."""
        if "12" in self.raw_mode:
            return 4095
        # Pillow scales the values of a PGM to 16 bits.
        return 65535 if self.format in (*_FULL_RANGE_FORMATS, "PPM") else None


def to_rgb(image: Image, source: PixelSource) -> tuple[Image, list[str]]:
    """Convert an image to RGB, transparency on white, and return notes on what was lost.

    Raises UsageError for a mode whose range of values is not known.
    """
    if image.mode in _SIXTEEN_BITS or image.mode == "I":
        return _from_wide_grey(image, source)
    notes = depth_notes(source)
    if image.mode == "CMYK":
        return image.convert("RGB"), [*notes, "CMYK was converted without a colour profile"]
    if image.mode == "LAB":
        return _from_lab(image), notes
    if image.mode not in (*_DIRECT, *_TRANSPARENT):
        raise unsupported_mode_error(image.mode)
    flat, flat_notes = _flatten(_unmultiplied(image))
    return flat, notes + flat_notes


def depth_notes(source: PixelSource) -> list[str]:
    """Return the note on a file of 16 bits per channel, of which Pillow keeps 8."""
    return ["16 bits per channel were reduced to 8"] if ";16" in source.raw_mode else []


def unsupported_mode_error(mode: str) -> UsageError:
    """Build the error for a mode that cannot be converted rightly."""
    return UsageError(
        f"pixels of Pillow's mode {mode} have no known range of values",
        code="image.mode",
        hint="save the image with 8 or 16 bits per channel, as a PNG",
    )


def _unmultiplied(image: Image) -> Image:
    """The image with plain alpha, where Pillow would convert only to that mode."""
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    return image.convert(straight) if straight else image


def _flatten(image: Image) -> tuple[Image, list[str]]:
    """Convert to RGB, with transparency on white, and note it."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    if not image.has_transparency_data:
        return image.convert("RGB"), []
    layer = image.convert("RGBA")
    # An alpha channel that hides nothing is not worth a note.
    if layer.getchannel("A").getextrema() == (255, 255):
        return layer.convert("RGB"), []
    paper = pillow.new("RGBA", layer.size, "white")
    return pillow.alpha_composite(paper, layer).convert("RGB"), ["transparency became white"]


def _from_wide_grey(image: Image, source: PixelSource) -> tuple[Image, list[str]]:
    """Scale grey of 12 or 16 bits to 8."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    maximum = source.grey_maximum
    # TIFF's 32 bits may be anything; a PGM of mode I has 16.
    if maximum is None or (image.mode == "I" and source.format != "PPM"):
        raise unsupported_mode_error(image.mode)
    wide = np.asarray(image).astype(np.int64)
    grey = _scale(wide, maximum)
    notes = [] if _is_exact(wide, grey, maximum) else ["16-bit grey was reduced to 8 bits"]
    if source.is_white_zero:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and (wide == transparent).any():
        grey = np.where(wide == transparent, 255, grey)
        notes.append("transparency became white")
    return pillow.fromarray(grey.astype(np.uint8)).convert("RGB"), notes


def _scale(wide: NDArray[np.int64], maximum: int) -> NDArray[np.int64]:
    """Scale 0…maximum to 0…255, rounded."""
    import numpy as np

    return (np.clip(wide, 0, maximum) * 255 + maximum // 2) // maximum


def _is_exact(wide: NDArray[np.int64], grey: NDArray[np.int64], maximum: int) -> bool:
    return bool((grey * maximum == wide * 255).all())


def _from_lab(image: Image) -> Image:
    """Convert CIELAB to sRGB by their standard profiles."""
    try:
        from PIL import ImageCms

        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    except ImportError as error:  # a Pillow that was built without LittleCMS
        raise unsupported_mode_error(image.mode) from error
    assert converted is not None
    return converted
