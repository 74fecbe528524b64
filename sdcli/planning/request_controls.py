"""Resolve the ControlNets of a request and their images: their files and hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sdcli.checkpoints.adapters.controlnet_file import ControlnetFile, read_controlnet
from sdcli.checkpoints.adapters.embedded_addons import is_embedded_addon
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import ModelError, UsageError
from sdcli.field_validation import refuse_separator
from sdcli.fields.control import ControlJobFields, parse_control_images, parse_preprocessors
from sdcli.input_images import InputReader
from sdcli.inputs.paths import lasting_name
from sdcli.job import Job
from sdcli.listed_files import NONE, SEPARATOR, join_files, split_files
from sdcli.planning.field_errors import naming
from sdcli.planning.request_images import read_as
from sdcli.request import GenerationRequest

_CELL: Final = 8
_LARGEST_CELL: Final = 64
"""No side that is a multiple of it is wrong for the usual T2I-Adapters."""


@dataclass(frozen=True, kw_only=True)
class RequestControls(ControlJobFields):
    """The ControlNets of a request and their images, as its job has them."""

    def job_fields(self) -> dict[str, Any]:
        """The fields of a job that come from the ControlNets."""
        return dict(vars(self))


NO_CONTROLS: Final = RequestControls()


def take_controls(
    request: GenerationRequest,
    defaults: ModelDefaults,
    read: InputReader | None,
    *,
    is_local: bool = False,
) -> RequestControls:
    """Find the ControlNets and the images of a request, and check that they fit together.

    With `is_local` nothing is downloaded: of a ControlNet that would be, only the name is known.
    ControlNets are matched to the model by their headers alone. Raises UsageError, ModelError,
    UnsafeError and CorruptError, whose messages begin with the field that is at fault.
    """
    names = split_files(request.controlnet)
    images = parse_control_images(request.control_image)
    _check_counts(request, len(names), len(images))
    if not names:
        return NO_CONTROLS
    words = parse_preprocessors(request.control_preprocess, len(images))
    if defaults.vae_scale_factor != _CELL:
        raise ModelError(
            f"controlnet: the latents of this model have cells of {defaults.vae_scale_factor} "
            f"pixels, and a ControlNet reads its image in cells of {_CELL}",
            code="model.controlnet_family",
        )
    _check_preprocessors(words)
    assert read is not None, "a request with control images needs a reader of images"
    described = [read_as("control_image", image.path, read) for image in images]
    try:
        networks = [_read_network(name, request, is_local=is_local) for name in names]
    except ModelError as error:
        if error.code != "model.offline" or request.spec.offline or not is_local:
            raise
        return RequestControls(controlnet=request.controlnet, control_image=request.control_image)
    return RequestControls(
        controlnet=join_files(map(_lasting, names)),
        controlnet_sha256=SEPARATOR.join(network.sha256 for network in networks),
        control_image=join_files(images),
        control_image_sha256=SEPARATOR.join(
            str(replace(image, path=found.sha256))
            for image, found in zip(images, described, strict=True)
        ),
        control_preprocess=_join_words(words),
    )


def control_size_faults(job: Job) -> Iterator[UsageError]:
    """Yield the errors of sizes that a T2I-Adapter cannot divide into its cells."""
    sides = {job.width, job.height, *job.final_size}
    if not job.controlnet_sha256 or all(side % _LARGEST_CELL == 0 for side in sides):
        return
    for name in split_files(job.controlnet):
        cell = read_controlnet(name, job.spec).cell
        if any(side % cell for side in sides):
            yield UsageError(
                f"controlnet: {name} needs sides that are multiples of {cell}, not "
                f"{', '.join(str(side) for side in sorted(sides) if side % cell)}",
                code="usage.size",
                hint=f"e.g. --size {_rounded(job.width, cell)}x{_rounded(job.height, cell)}",
            )


def _rounded(side: int, cell: int) -> int:
    return max(cell, round(side / cell) * cell)


def _check_counts(request: GenerationRequest, networks: int, images: int) -> None:
    if networks and images != networks:
        few = f"{networks} ControlNet{'s' if networks > 1 else ''} and {images or 'no'} image"
        raise UsageError(
            f"controlnet: there {'are' if networks > 1 else 'is'} {few}{'s' * (images != 1)}",
            code="usage.controlnet" if images > networks else "usage.control_image",
            hint="give each --controlnet a --control-image of its own, in the same order",
        )
    # In a sweep, the images without a ControlNet have the options of the others.
    if request.controlnet is not None:
        return
    words = request.control_preprocess or NONE
    preprocessors = {*parse_preprocessors(words, words.count(SEPARATOR) + 1)} - {NONE}
    if images or preprocessors:
        name = "control_image" if images else "control_preprocess"
        raise UsageError(
            f"{name}: it has no effect without --controlnet",
            code=f"usage.{name}",
            hint="add --controlnet MODEL, or leave it out",
        )


def _check_preprocessors(words: Sequence[str]) -> None:
    """Raise UsageError for a preprocessor whose library is not installed."""
    from importlib.util import find_spec

    if any(word != NONE for word in words) and find_spec("cv2") is None:
        raise UsageError(
            "control_preprocess: canny needs OpenCV, which is not installed",
            code="usage.control_preprocess",
            hint="pip install opencv-python-headless, or give an image of edges",
        )


def _read_network(name: str, request: GenerationRequest, *, is_local: bool) -> ControlnetFile:
    spec = replace(request.spec, offline=request.spec.offline or is_local)
    with naming("controlnet"):
        refuse_separator("controlnet", _lasting(name))
        return read_controlnet(name, spec)


def _lasting(name: str) -> str:
    return name if is_embedded_addon(name) else lasting_name(name)


def _join_words(words: Sequence[str]) -> str | None:
    """Write the preprocessors as a request has them, None for none."""
    if len(set(words)) == 1:
        return None if words[0] == NONE else words[0]
    return SEPARATOR.join(words)
