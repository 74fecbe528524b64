"""Describe the IP-Adapter fields of requests and jobs, and the text in which they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import field_infos, setting
from sdcli.field_validation import check_text
from sdcli.listed_files import NONE, SEPARATOR, split_files

_MAX_SCALE: Final = 100
_NUMBER: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
_WRITTEN: Final = re.compile(rf"(.+?)(?::({_NUMBER}))?")


@dataclass(frozen=True, kw_only=True)
class ImagePrompt:
    """An image that an IP-Adapter shows to the model, by its path, and how strongly it counts."""

    path: str
    scale: float = 1.0

    @classmethod
    def parse(cls, text: str) -> ImagePrompt:
        """Parse IMAGE or IMAGE:SCALE. Raises UsageError."""
        match = _WRITTEN.fullmatch(text.strip())
        if not match or match[1].startswith(":") or match[1].endswith(":"):
            raise _image_error(text, "does not name an image")
        scale = 1.0 if match[2] is None else float(match[2])
        if abs(scale) > _MAX_SCALE:
            raise _image_error(text, f"has a scale that is not between -{_MAX_SCALE} and 100")
        return cls(path=match[1], scale=scale)

    def __str__(self) -> str:
        return f"{self.path}:{self.scale:.10g}"


def parse_ip_images(text: str | None) -> tuple[ImagePrompt, ...]:
    """Parse the image prompts of one image: "cat.png:0.6;style.png". Raises UsageError."""
    return tuple(map(ImagePrompt.parse, split_files(text)))


def short_ip_adapters(text: str | None) -> str:
    """The IP-Adapters of one image for people: the last parts of their paths."""
    return ", ".join(PurePath(name).name for name in split_files(text)) or NONE


def short_ip_images(text: str | None) -> str:
    """The image prompts of one image for people: without folders."""
    images = parse_ip_images(text)
    return ", ".join(str(replace(i, path=PurePath(i.path).name)) for i in images) or NONE


def _image_error(text: str, reason: str) -> UsageError:
    return UsageError(
        f"ip_image: {quoted(text)} {reason}",
        code="usage.ip_image",
        hint="FILE:SCALE, e.g. cat.png:0.6",
    )


@dataclass(frozen=True, kw_only=True)
class IpAdapterRequestFields:
    """The fields of a request that show images to the model by IP-Adapters."""

    ip_adapter: str | None = setting(
        None,
        "--ip-adapter",
        metavar="MODEL",
        help="Let an IP-Adapter show an --ip-image to the model, as a prompt that is an image: a "
        ".safetensors or .bin file, or owner/name/FILE.safetensors on the hub. May be repeated: "
        "one for all images, or one for each; none for none.",
        sweep=44,
        repeatable=True,
    )
    ip_image: str | None = setting(
        None,
        "--ip-image",
        metavar="IMAGE[:SCALE]",
        help="An image for the IP-Adapter, of any size, and how strongly it counts (default 1). "
        "May be repeated: the images add up.",
        sweep=49,
        repeatable=True,
    )
    ip_encoder: str | None = setting(
        None,
        "--ip-encoder",
        metavar="FOLDER",
        help="The CLIP image encoder of the IP-Adapter: a folder, or owner/name/FOLDER on the hub. "
        "Default: image_encoder beside the IP-Adapter.",
        sweep=43,
    )

    def check_ip_adapter_fields(self) -> None:
        """Raise UsageError for fields that are no text, or name no image."""
        for name in IP_ADAPTER_FIELDS:
            check_text(name, getattr(self, name), optional=True)
        parse_ip_images(self.ip_image)


IP_ADAPTER_FIELDS: Final = field_infos(IpAdapterRequestFields)
"""The FieldInfo of each of these fields, by name."""


@dataclass(frozen=True, kw_only=True)
class IpAdapterJobFields:
    """The IP-Adapters of a job, their images and their encoder: by path, and by SHA-256.

    There is one IP-Adapter for each image, or a single one for all of them.
    """

    ip_adapter: str | None = None
    ip_adapter_sha256: str = ""
    ip_image: str | None = None
    ip_image_sha256: str = ""
    ip_encoder: str | None = None
    ip_encoder_sha256: str = ""

    @property
    def ip_image_hashes(self) -> list[str]:
        """The SHA-256 of each image, without its scale."""
        return [part.partition(":")[0] for part in self.ip_image_sha256.split(SEPARATOR)]
