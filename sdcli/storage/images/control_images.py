"""Prepare the control images of a job: fitted to what is drawn, and perhaps only their edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_PREFIX
from sdcli.errors import UsageError
from sdcli.fields.control import parse_control_images, parse_preprocessors
from sdcli.input_images import ControlPixels
from sdcli.job import Job
from sdcli.listed_files import NONE, SEPARATOR, split_files
from sdcli.storage.images.edges import find_edges
from sdcli.storage.images.fitting import fit, scale
from sdcli.storage.images.input_files import read_input
from sdcli.storage.images.prepared_input import PreparedInput, fit_notes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PREPROCESSORS: Final[Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    NONE: lambda pixels: pixels,
    "canny": find_edges,
}

_READS_EDGES: Final = f"{EMBEDDED_PREFIX}edges"
_DARK: Final = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedControls:
    """The control images of a job. `notes` are sentences for the record."""

    pixels: ControlPixels
    notes: tuple[str, ...]


def prepare_controls(job: Job, cell: int, prepared: PreparedInput | None) -> PreparedControls:
    """Read and fit the control images of a job. `cell` is the side of a latent's cell in pixels.

    `prepared` is the input of the job, whose area they cover. Raises UsageError for a file that has
    changed, and the errors of reading images.
    """
    uses = parse_control_images(job.control_image)
    hashes = [part.partition(":")[0] for part in job.control_image_sha256.split(SEPARATOR)]
    words = parse_preprocessors(job.control_preprocess, len(uses))
    second = job.second_pass()
    names = split_files(job.controlnet)
    first_pixels, second_pixels, notes = [], [], []
    for name, use, digest, word in zip(names, uses, hashes, words, strict=True):
        image, read_notes = _read(use.path, digest)
        process = _PREPROCESSORS[word]
        notes += read_notes
        if prepared is None or job.inpaint_area == "whole":
            notes += fit_notes(f"control image {PurePath(use.path).name}", image, job, cell)
        first_pixels.append(process(_fit(image, job, cell, prepared)))
        if (name, word) == (_READS_EDGES, NONE):
            notes += _edge_notes(PurePath(use.path).name, first_pixels[-1])
        if second:
            second_pixels.append(process(_fit(image, second, cell, None)))
    pixels = ControlPixels(first=first_pixels, second=second_pixels)
    return PreparedControls(pixels=pixels, notes=tuple(notes))


def _edge_notes(name: str, pixels: NDArray[np.uint8]) -> list[str]:
    """What is wrong with an image that should show white edges on black."""
    if (pixels.max(axis=2) < _DARK).mean() >= 0.5:
        return []
    return [
        f"control image {name} is not white edges on black, which {_READS_EDGES} reads: "
        "--control-preprocess canny finds the edges of a picture"
    ]


def _read(path: str, digest: str) -> tuple[NDArray[np.uint8], list[str]]:
    try:
        return read_input(path, digest)
    except UsageError as error:
        raise UsageError(
            f"control_image: {error.message}", code="usage.control_image", hint=error.hint
        ) from error


def _fit(
    image: NDArray[np.uint8], job: Job, cell: int, prepared: PreparedInput | None
) -> NDArray[np.uint8]:
    if prepared is None or job.inpaint_area == "whole":
        return fit(image, job.width, job.height, job.resize, cell)
    # Only a part of the image is drawn, enlarged: the same part of the control image guides it.
    height, width, _ = prepared.canvas.shape
    part = prepared.box.of(fit(image, width, height, job.resize, 1))
    return scale(part, job.width, job.height)
