"""Resolve the images that a request starts from: their files' hashes, and the size to draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import CorruptError, UsageError
from sdcli.fields.control import CONTROL_FIELDS
from sdcli.fields.hires import HIRES_FIELDS
from sdcli.fields.image import IMAGE_FIELDS, INPUT_FIELDS, MOST_PIXELS, Margins, steps_run
from sdcli.input_images import InputImage, InputReader
from sdcli.job import Job
from sdcli.request import GenerationRequest, describe_field


@dataclass(frozen=True, kw_only=True)
class RequestImages:
    """The images of a request, and the width and height that it draws."""

    width: int
    height: int
    image: InputImage | None = None
    mask: InputImage | None = None

    def job_fields(self) -> dict[str, object]:
        """The fields of a job that come from the images."""
        hashes = {
            f"{name}_sha256": image.sha256
            for name in INPUT_FIELDS
            if (image := getattr(self, name)) is not None
        }
        return {"width": self.width, "height": self.height, **hashes}


def read_images(
    request: GenerationRequest, defaults: ModelDefaults, read: InputReader | None
) -> RequestImages:
    """Read the headers and hashes of the request's images, and choose the size.

    Without a size in the request it is the image's, in whole cells of latents, with the margins of
    `outpaint`; the model's where there is no image, or where only the part around the mask is
    drawn. Raises UsageError and CorruptError.
    """
    width, height = request.width or defaults.width, request.height or defaults.height
    if request.image is None:
        return RequestImages(width=width, height=height)
    assert read is not None, "a request with an image needs a reader of images"
    image = read_as("image", request.image, read)
    mask = None if request.mask is None else read_as("mask", request.mask, read)
    if request.inpaint_area != "mask":
        width, height = _whole_size(request, image, max(8, defaults.vae_scale_factor))
    return RequestImages(width=width, height=height, image=image, mask=mask)


def read_as(name: str, path: str, read: InputReader) -> InputImage:
    """Read the image at a path with errors of the field `name`.

    Raises UsageError and CorruptError.
    """
    try:
        return read(path)
    except (UsageError, CorruptError) as error:
        message = f"{describe_field(name)}: {error.message}"
        if isinstance(error, UsageError):
            # The code names the field, so that the error is found in a prompt file.
            raise UsageError(message, code=f"usage.{name}", hint=error.hint) from error
        raise CorruptError(message, code=f"{name}.corrupt", hint=error.hint) from error


def _whole_size(request: GenerationRequest, image: InputImage, grid: int) -> tuple[int, int]:
    margins = Margins.parse(request.outpaint) if request.outpaint else Margins()
    full = (
        image.width + margins.left + margins.right,
        image.height + margins.top + margins.bottom,
    )
    width, height = (side // grid * grid for side in full)
    if not width or not height:
        raise UsageError(
            f"image: {image.path} is {image.width}x{image.height}, smaller than {grid}x{grid}",
            code="usage.image",
            hint="enlarge it, or use a larger image",
        )
    size = request.width or width, request.height or height
    if request.outpaint and size != (width, height):
        raise UsageError(
            f"outpaint: with its margins the image is {width}x{height}, and --size asks for "
            f"{size[0]}x{size[1]}",
            code="usage.outpaint",
            hint="leave --size out",
        )
    if request.outpaint and max(size) > MOST_PIXELS:
        raise UsageError(
            f"outpaint: with its margins the image is {width}x{height}, and {MOST_PIXELS} is the "
            "longest side",
            code="usage.outpaint",
        )
    return size


def image_faults(
    request: GenerationRequest, job: Job, defaults: ModelDefaults
) -> Iterator[UsageError]:
    """Yield the errors of the fields of input images, and of others without effect."""
    for name, info in {**IMAGE_FIELDS, **HIRES_FIELDS}.items():
        if info.needs and getattr(request, name) != info.default and not job.has_effect(name):
            missing = " or ".join(_flag(needed) for needed in info.needs)
            yield UsageError(
                f"{describe_field(name)} has no effect without {missing}",
                code=f"usage.{name}",
                hint=f"add {missing}, or leave {info.flag} out",
            )
    yield from _inpainting_model_faults(job, defaults)
    if job.image is not None and job.denoising_steps < 1:
        yield no_steps_error(job, "", "the image")
    if job.guidance_rescale and (job.image or job.hires) and defaults.xl is None:
        option = "--image" if job.image else "--hires"
        yield UsageError(
            f"guidance_rescale: with {option}, only Stable Diffusion XL has it: Diffusers' other "
            "pipelines for input images do not",
            code="usage.guidance_rescale",
            hint=f"leave it out, or leave {option} out",
        )


def _flag(name: str) -> str:
    flag = {**IMAGE_FIELDS, **HIRES_FIELDS, **CONTROL_FIELDS}[name].flag
    return f"{flag} mask" if name == "inpaint_area" else flag


def _inpainting_model_faults(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    if defaults.is_inpainting and not (job.image is not None and job.has_mask):
        yield UsageError(
            f"mask: {job.spec.model} is an inpainting model (its UNet has 9 input channels): it "
            "needs an image and a mask",
            code="usage.mask",
            hint="add --image FILE --mask FILE, or use a text-to-image model",
        )


def no_steps_error(run: Job, prefix: str, image: str) -> UsageError:
    """The error of a strength that runs no step, of the fields whose names begin with `prefix`."""
    steps = run.num_inference_steps
    option = f"--{prefix}".replace("_", "-")
    enough = [n for n in range(steps, 1001) if steps_run(n, run.strength)]
    more = f"{option}steps {enough[0]}, or " if enough else ""
    return UsageError(
        f"{prefix}strength: {run.strength:g} of {steps} {'step' if steps == 1 else 'steps'} leaves "
        f"no step to run, and {image} as it is",
        code=f"usage.{prefix}strength",
        hint=f"use {more}a higher {option}strength",
    )
