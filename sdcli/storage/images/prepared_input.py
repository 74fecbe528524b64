"""Prepare the image and mask that a job starts from, and put what was drawn back into the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdcli.errors import UsageError
from sdcli.fields.image import Margins
from sdcli.input_images import InputPixels
from sdcli.job import Job
from sdcli.storage.images.fitting import extend, extend_mask, fit, is_cut, scale
from sdcli.storage.images.input_files import read_input, read_mask
from sdcli.storage.images.masks import Box, area_around, grow_to_cells, soften

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedInput:
    """The input of a job at the size that is drawn, and the whole image that the result goes into.

    `canvas` is (height, width, 3), `mask` (height, width) with 255 where the result replaces it,
    and `box` the area of it that is drawn. `notes` are sentences for the record.
    """

    pixels: InputPixels
    canvas: NDArray[np.uint8]
    box: Box
    mask: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()

    def insert(self, drawn: NDArray[np.uint8], *, keep_unmasked: bool) -> NDArray[np.uint8]:
        """Return the whole image (height, width, 3) with the drawn one in its box.

        With `keep_unmasked`, pixels where the mask is black are those of the input.
        """
        import numpy as np

        box, canvas = self.box, self.canvas.copy()
        old = box.of(canvas)
        new = scale(drawn, box.right - box.left, box.bottom - box.top)
        if keep_unmasked and self.mask is not None:
            weight = box.of(self.mask)[..., None].astype(np.uint32)
            # Integers give the same bytes on every machine.
            blended = (new * weight + old * (255 - weight) + 127) // 255
            new = blended.astype(np.uint8)
        canvas[box.top : box.bottom, box.left : box.right] = new
        return canvas


def prepare_input(job: Job, cell: int) -> PreparedInput:
    """Read and fit the image and mask of a job. `cell` is the side of a latent's cell in pixels.

    Raises UsageError for a mask that is black all over or a file that has changed, and the errors
    of reading images.
    """
    assert job.image is not None
    canvas, notes = read_input(job.image, job.image_sha256)
    mask = None
    if job.has_mask:
        mask, mask_notes = _read_mask_for(job, canvas)
        notes += mask_notes
    if job.outpaint:
        margins = Margins.parse(job.outpaint)
        canvas = extend(canvas, margins)
        mask = None if mask is None else extend_mask(mask, margins)
    if job.inpaint_area == "whole":
        notes += fit_notes("the input image", canvas, job, cell)
        canvas = fit(canvas, job.width, job.height, job.resize, cell)
        mask = None if mask is None else fit(mask, job.width, job.height, job.resize, cell)
    if mask is None:
        return _whole(canvas, None, None, notes)
    if not mask.any():
        raise UsageError(
            "mask: it is black all over, so there is nothing to repaint",
            code="usage.mask",
            hint="paint it white there, or use --mask-invert",
        )
    mask = soften(mask, job.mask_blur)
    if job.inpaint_area == "whole":
        # The model repaints whole cells; which pixels are kept is up to the mask itself.
        return _whole(canvas, mask, grow_to_cells(mask, cell), notes)
    box = area_around(mask, job.inpaint_padding, job.width, job.height)
    part = scale(box.of(mask), job.width, job.height)
    drawn = scale(box.of(canvas), job.width, job.height)
    pixels = InputPixels(image=drawn, mask=grow_to_cells(part, cell))
    return PreparedInput(pixels=pixels, canvas=canvas, box=box, mask=mask, notes=tuple(notes))


def _whole(
    canvas: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    cells: NDArray[np.bool_] | None,
    notes: list[str],
) -> PreparedInput:
    height, width, _ = canvas.shape
    return PreparedInput(
        pixels=InputPixels(image=canvas, mask=cells),
        canvas=canvas,
        box=Box(0, 0, width, height),
        mask=mask,
        notes=tuple(notes),
    )


def _read_mask_for(job: Job, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[str]]:
    """The mask of a job at the size of its image; black where only margins are repainted."""
    import numpy as np

    height, width, _ = image.shape
    if job.mask is None:
        return np.zeros((height, width), np.uint8), []
    mask, notes = read_mask(job.mask, job.mask_sha256)
    if mask.shape != (height, width):
        notes.append(
            f"the mask was scaled from {mask.shape[1]}x{mask.shape[0]} to the image's "
            f"{width}x{height}"
        )
        mask = scale(mask, width, height)
    return (255 - mask if job.mask_invert else mask), notes


def fit_notes(name: str, canvas: NDArray[np.uint8], job: Job, cell: int) -> list[str]:
    """Say what the image called `name` loses when it is fitted to the size of the job."""
    height, width, _ = canvas.shape
    if (width, height) == (job.width, job.height):
        return []
    sizes = f"from {width}x{height} to {job.width}x{job.height}"
    if is_cut((width, height), (job.width, job.height), cell):
        return [f"{name} was cut {sizes}, multiples of {cell}"]
    if width * job.height == height * job.width:
        return []
    words = {"crop": "scaled and cropped", "stretch": "stretched", "pad": "scaled and padded"}
    return [f"{name} was {words[job.resize]} {sizes}"]
