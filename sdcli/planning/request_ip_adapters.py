"""Resolve the IP-Adapters of a request, their images and their encoder: files and hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sdcli.checkpoints.adapters.image_encoder import (
    ImageEncoder,
    check_encoder,
    encoder_name,
    read_image_encoder,
)
from sdcli.checkpoints.adapters.ip_adapter_file import IpAdapterFile, read_ip_adapter
from sdcli.errors import ModelError, UsageError
from sdcli.field_validation import refuse_separator
from sdcli.fields.ip_adapter import IpAdapterJobFields, parse_ip_images
from sdcli.input_images import InputImage, InputReader
from sdcli.inputs.paths import lasting_name
from sdcli.listed_files import NONE, SEPARATOR, join_files, split_files
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.field_errors import naming
from sdcli.planning.request_images import read_as
from sdcli.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class RequestIpAdapters(IpAdapterJobFields):
    """The IP-Adapters of a request, as its job has them."""

    def job_fields(self) -> dict[str, Any]:
        """The fields of a job that come from the IP-Adapters."""
        return dict(vars(self))


NO_IP_ADAPTERS: Final = RequestIpAdapters()


def take_ip_adapters(
    request: GenerationRequest, read: InputReader | None, *, is_local: bool = False
) -> RequestIpAdapters:
    """Find the IP-Adapters of a request, their images and their encoder, and check that they fit.

    With `is_local` nothing is downloaded: of a file that would be, only the name is known. Files
    are matched to the model by their headers alone. Raises UsageError, ModelError, UnsafeError and
    CorruptError, whose messages begin with the field that is at fault.
    """
    names, images = split_files(request.ip_adapter), parse_ip_images(request.ip_image)
    _check_counts(request, len(names), len(images))
    if not names:
        return NO_IP_ADAPTERS
    assert read is not None, "a request with images needs a reader of images"
    described = [_read_image(image.path, read) for image in images]
    spec = replace(request.spec, offline=request.spec.offline or is_local)
    try:
        adapters = [_read_adapter(name, spec) for name in names]
        encoder_path = _encoder_name(request, names)
        encoder = _read_encoder(encoder_path, adapters, spec)
    except ModelError as error:
        if error.code != "model.offline" or request.spec.offline or not is_local:
            raise
        return RequestIpAdapters(ip_adapter=request.ip_adapter, ip_image=request.ip_image)
    return RequestIpAdapters(
        ip_adapter=join_files(map(lasting_name, names)),
        ip_adapter_sha256=SEPARATOR.join(file.sha256 for file in adapters),
        ip_image=join_files(images),
        ip_image_sha256=SEPARATOR.join(
            str(replace(image, path=found.sha256))
            for image, found in zip(images, described, strict=True)
        ),
        ip_encoder=lasting_name(encoder_path),
        ip_encoder_sha256=encoder.sha256,
    )


def _check_counts(request: GenerationRequest, adapters: int, images: int) -> None:
    if adapters and not images:
        raise UsageError(
            "ip_adapter: there is no image for it",
            code="usage.ip_image",
            hint="add --ip-image FILE, or leave --ip-adapter out",
        )
    if adapters > 1 and adapters != images:
        raise UsageError(
            f"ip_adapter: there are {adapters} IP-Adapters and {images} image{'s' * (images != 1)}",
            code="usage.ip_adapter",
            hint="give one --ip-adapter for all images, or one for each, in their order",
        )
    # In a sweep, the images without an IP-Adapter have the options of the others.
    if request.ip_adapter is not None:
        return
    for name in ("ip_image", "ip_encoder"):
        if (getattr(request, name) or NONE).lower() != NONE:
            raise UsageError(
                f"{name}: it has no effect without --ip-adapter",
                code=f"usage.{name}",
                hint="add --ip-adapter MODEL, or leave it out",
            )


def _read_image(path: str, read: InputReader) -> InputImage:
    found = read_as("ip_image", path, read)
    sides = found.width, found.height
    if max(sides) > _MOST_TIMES * min(sides):
        raise UsageError(
            f"ip_image: {path} is {found.width}x{found.height}, and a side may be at most "
            f"{_MOST_TIMES} times the other",
            code="usage.ip_image",
            hint="crop it: only the square in the middle is seen",
        )
    return found


# The shorter side becomes a few hundred pixels before the square is cut out.
_MOST_TIMES: Final = 100


def _read_adapter(name: str, spec: PipelineSpec) -> IpAdapterFile:
    with naming("ip_adapter"):
        refuse_separator("ip_adapter", lasting_name(name))
        return read_ip_adapter(name, spec)


def _encoder_name(request: GenerationRequest, names: Sequence[str]) -> str:
    given = request.ip_encoder
    return encoder_name(None if given is None or given.lower() == NONE else given, names)


def _read_encoder(name: str, adapters: Sequence[IpAdapterFile], spec: PipelineSpec) -> ImageEncoder:
    with naming("ip_encoder"):
        encoder = read_image_encoder(name, offline=spec.offline)
        for file in adapters:
            check_encoder(file, encoder)
    return encoder
