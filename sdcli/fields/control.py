"""Describe the ControlNet fields of requests and jobs, and the text in which they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import field_infos, setting
from sdcli.field_validation import check_text
from sdcli.listed_files import NONE, SEPARATOR, split_files

PREPROCESSORS: Final = (NONE, "canny")

_MAX_SCALE: Final = 100
_NUMBER: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
_WRITTEN: Final = re.compile(rf"(.+?)(?::({_NUMBER}))?(?::({_NUMBER}))?(?::({_NUMBER}))?")
_DEFAULTS: Final = (1.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class ControlImage:
    """A control image by its path, how strongly it counts, and in which part of the run.

    `start` and `end` are fractions of the run.
    """

    path: str
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    @classmethod
    def parse(cls, text: str) -> ControlImage:
        """Parse IMAGE, IMAGE:SCALE, IMAGE:SCALE:START or IMAGE:SCALE:START:END."""
        match = _WRITTEN.fullmatch(text.strip())
        if not match or match[1].startswith(":") or match[1].endswith(":"):
            raise _image_error(text, "does not name an image")
        found = zip(match.groups()[1:], _DEFAULTS, strict=True)
        scale, start, end = (default if n is None else float(n) for n, default in found)
        if abs(scale) > _MAX_SCALE:
            raise _image_error(text, f"has a scale that is not between -{_MAX_SCALE} and 100")
        if not 0 <= start < end <= 1:
            raise _image_error(text, "has a part of the run that does not lie between 0 and 1")
        return cls(path=match[1], scale=scale, start=start, end=end)

    @property
    def numbers(self) -> str:
        """The scale, start and end as they are written, without defaults at the end."""
        values = [self.scale, self.start, self.end]
        while len(values) > 1 and values[-1] == _DEFAULTS[len(values) - 1]:
            values.pop()
        return ":".join(f"{value:.10g}" for value in values)

    def __str__(self) -> str:
        return f"{self.path}:{self.numbers}"


def parse_control_images(text: str | None) -> tuple[ControlImage, ...]:
    """Parse the control images of one image: "edges.png:0.8;pose.png". Raises UsageError."""
    return tuple(map(ControlImage.parse, split_files(text)))


def parse_preprocessors(text: str | None, count: int) -> tuple[str, ...]:
    """Return the preprocessor of each of `count` control images, of which one may be for all.

    Raises UsageError.
    """
    words = [word.strip().lower() for word in (text or NONE).split(SEPARATOR)]
    for word in words:
        if word not in PREPROCESSORS:
            raise UsageError(
                f"control_preprocess: {quoted(word)} is not one of {', '.join(PREPROCESSORS)}",
                code="usage.control_preprocess",
            )
    if len(words) not in (1, count):
        raise UsageError(
            f"control_preprocess: {len(words)} are given for {count} control images",
            code="usage.control_preprocess",
            hint="give one for all, or one for each, in their order",
        )
    return tuple(words * count if len(words) == 1 else words)


def short_controlnets(text: str | None) -> str:
    """The ControlNets of one image for people: the last parts of their paths."""
    return ", ".join(PurePath(name).name for name in split_files(text)) or NONE


def short_control_images(text: str | None) -> str:
    """The control images of one image for people: without folders."""
    images = parse_control_images(text)
    return ", ".join(str(replace(i, path=PurePath(i.path).name)) for i in images) or NONE


def _image_error(text: str, reason: str) -> UsageError:
    return UsageError(
        f"control_image: {quoted(text)} {reason}",
        code="usage.control_image",
        hint="FILE:SCALE:START:END, e.g. edges.png:0.8 or edges.png:1:0:0.5",
    )


@dataclass(frozen=True, kw_only=True)
class ControlRequestFields:
    """The fields of a request that guide the model by ControlNets."""

    controlnet: str | None = setting(
        None,
        "--controlnet",
        metavar="MODEL",
        help="Let a ControlNet guide the image by a --control-image: a hub id, a folder, a "
        ".safetensors file, embedded:layout or embedded:edges. Also the folder or hub id of a "
        "T2I-Adapter. May be repeated, each with a --control-image of its own; none for none.",
        sweep=47,
        repeatable=True,
    )
    control_image: str | None = setting(
        None,
        "--control-image",
        metavar="IMAGE[:SCALE]",
        help="The image for the ControlNet: edges, depth, a pose, as the model was trained. "
        "IMAGE:SCALE:START:END also say how strongly it counts (default 1), and in which part of "
        "the run (default 0 to 1).",
        sweep=48,
        repeatable=True,
    )
    control_preprocess: str | None = setting(
        None,
        "--control-preprocess",
        metavar="NAME",
        help="Make the control image from a photo: canny finds its edges (needs OpenCV); "
        "none, the default, uses it as it is. One for all control images, or one for each.",
        repeatable=True,
    )

    def check_control_fields(self) -> None:
        """Raise UsageError for fields that are no text, or have no meaning."""
        for name in CONTROL_FIELDS:
            check_text(name, getattr(self, name), optional=True)
        parse_control_images(self.control_image)
        words = (self.control_preprocess or "").count(SEPARATOR) + 1
        parse_preprocessors(self.control_preprocess, words)


CONTROL_FIELDS: Final = field_infos(ControlRequestFields)
"""The FieldInfo of each of these fields, by name."""


@dataclass(frozen=True, kw_only=True)
class ControlJobFields:
    """The ControlNets of a job and their images: by path, and with SHA-256 in place of paths."""

    controlnet: str | None = None
    controlnet_sha256: str = ""
    control_image: str | None = None
    control_image_sha256: str = ""
    control_preprocess: str | None = None
