"""Describe the fields of requests and jobs that start from an image, with or without a mask."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Final, NamedTuple

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import field_infos, setting
from sdcli.field_validation import check_switch, check_text

DEFAULT_STRENGTH: Final = 0.8
DEFAULT_PADDING: Final = 32
INPAINT_AREAS: Final = ("whole", "mask")
RESIZE_MODES: Final = ("crop", "stretch", "pad")
INPUT_FIELDS: Final = ("image", "mask")
"""Fields that name an image file."""

_MASK_SOURCES: Final = ("mask", "outpaint")
_MARGIN = re.compile(r"\s*(left|right|top|bottom)\s*=\s*([0-9]{1,9})\s*")
MOST_PIXELS: Final = 16384
"""The longest side of an image."""


@dataclass(frozen=True, kw_only=True)
class ImageRequestFields:
    """The fields of a request for image-to-image, inpainting and outpainting."""

    image: str | None = setting(
        None,
        "--image",
        metavar="FILE",
        help="Start from this image instead of from noise (image-to-image).",
        aliases=("init_image",),
        is_path=True,
    )
    strength: float | None = setting(
        None,
        "--strength",
        metavar="F",
        help="0 to 1: how much of the input image to change. Runs this part of the steps.",
        minimum=0,
        maximum=1,
        aliases=("denoising_strength",),
        sweep=105,
        a1111="Denoising strength",
        resolved=DEFAULT_STRENGTH,
        needs=("image",),
    )
    mask: str | None = setting(
        None,
        "--mask",
        metavar="FILE",
        help="Repaint only where this image is white (inpainting).",
        aliases=("mask_image",),
        is_path=True,
        needs=("image",),
    )
    mask_blur: int | None = setting(
        None,
        "--mask-blur",
        metavar="N",
        help="Blend over N pixels on each side of the mask's edge.",
        minimum=0,
        maximum=512,
        sweep=106,
        a1111="Mask blur",
        resolved=0,
        needs=_MASK_SOURCES,
    )
    mask_invert: bool = setting(
        False,
        "--mask-invert",
        help="Repaint where the mask is black.",
        resolved=False,
        needs=("mask",),
    )
    keep_unmasked: bool | None = setting(
        None,
        "--keep-unmasked",
        off_flag="--no-keep-unmasked",
        help="Keep every pixel outside the mask exactly as it is; on by default.",
        resolved=True,
        needs=_MASK_SOURCES,
    )
    inpaint_area: str | None = setting(
        None,
        "--inpaint-area",
        help="Draw the whole image, or only the part around the mask, enlarged to --size.",
        choices=INPAINT_AREAS,
        resolved="whole",
        needs=_MASK_SOURCES,
    )
    inpaint_padding: int | None = setting(
        None,
        "--inpaint-padding",
        metavar="N",
        help="Pixels around the mask that --inpaint-area mask also draws.",
        minimum=0,
        maximum=4096,
        sweep=107,
        a1111="Masked area padding",
        resolved=DEFAULT_PADDING,
        needs=("inpaint_area",),
    )
    outpaint: str | None = setting(
        None,
        "--outpaint",
        metavar="SIDES",
        help="Extend the image, e.g. left=64,top=32 (pixels; also right, bottom).",
        needs=("image",),
    )
    resize: str | None = setting(
        None,
        "--resize",
        help="Fit an image of another shape to --size: crop its sides, stretch it, or pad it.",
        choices=RESIZE_MODES,
        resolved="crop",
        needs=("image", "control_image"),
    )

    def check_image_fields(self) -> None:
        """Check the fields that are neither numbers nor choices. Raises UsageError."""
        for name in INPUT_FIELDS:
            check_text(name, getattr(self, name), optional=True)
        for name in ("mask_invert", "keep_unmasked"):
            check_switch(name, getattr(self, name), optional=True)
        check_text("outpaint", self.outpaint, optional=True)
        if self.outpaint is not None:
            Margins.parse(self.outpaint)


IMAGE_FIELDS: Final = field_infos(ImageRequestFields)
"""The FieldInfo of each of these fields, by name."""


@dataclass(frozen=True, kw_only=True)
class ImageJobFields:
    """The fields of a job that starts from an image. The hashes are of the files' bytes."""

    image: str | None = None
    image_sha256: str = ""
    strength: float = DEFAULT_STRENGTH
    mask: str | None = None
    mask_sha256: str = ""
    mask_blur: int = 0
    mask_invert: bool = False
    keep_unmasked: bool = True
    inpaint_area: str = "whole"
    inpaint_padding: int = DEFAULT_PADDING
    outpaint: str | None = None
    resize: str = "crop"

    @property
    def has_mask(self) -> bool:
        """Whether only a part of the image is repainted."""
        return self.mask is not None or self.outpaint is not None

    @property
    def begins_with_noise(self) -> bool:
        """Whether the first latents are pure noise, at whatever timestep the run begins.

        The noise that is added to an image is that of the first timestep.
        """
        return not self.image or (self.has_mask and self.strength == 1)


def steps_run(num_inference_steps: int, strength: float) -> int:
    """Return how many of the steps run at a strength, as Diffusers computes it."""
    return min(int(num_inference_steps * strength), num_inference_steps)


class Margins(NamedTuple):
    """Pixels added to each side of an image."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    @classmethod
    def parse(cls, text: str) -> Margins:
        """Parse "left=64,top=32". Raises UsageError."""
        sides: dict[str, int] = {}
        for part in text.split(","):
            match = _MARGIN.fullmatch(part)
            if problem := _margin_problem(match, part.strip(), sides):
                raise _outpaint_error(text, problem)
            assert match
            sides[match[1]] = int(match[2])
        margins = cls(**sides)
        if not any(margins):
            raise _outpaint_error(text, "adds nothing")
        return margins


def _margin_problem(match: re.Match[str] | None, part: str, known: Container[str]) -> str | None:
    """Return what is wrong with one of the margins, None if nothing is."""
    if not match:
        return f"has {quoted(part)}, which is not SIDE=PIXELS" if part else "has an empty part"
    if match[1] in known:
        return f"names {match[1]} twice"
    if int(match[2]) > MOST_PIXELS:
        return f"has more than {MOST_PIXELS} pixels"
    return None


def _outpaint_error(text: str, problem: str) -> UsageError:
    return UsageError(
        f"outpaint: {quoted(text)} {problem}",
        code="usage.outpaint",
        hint="e.g. --outpaint left=64,right=64 (also top and bottom, each once)",
    )
