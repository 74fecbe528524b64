"""Find, read and validate files of latents, without importing torch."""

from __future__ import annotations

import shlex
from pathlib import Path

from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.errors import SdcliError, UsageError
from sdcli.inputs.paths import expand_user
from sdcli.inputs.regular_file import check_regular
from sdcli.latents import FINAL, MODEL_OUTPUT, NOISE, X0, XT, parse_tensor_name
from sdcli.numerics.float_names import FLOATS
from sdcli.storage.images.codec import FORMATS, read_image_info
from sdcli.storage.latents.latents_file import (
    LatentsFile,
    corrupt_error,
    parse_latents_file,
    read_latents_header,
)
from sdcli.storage.latents.writer import SCHEMA, SUFFIX

_LATENTS_SUFFIX = ".safetensors"
_HOW_TO_SAVE = "sdcli generate … --save-latents all writes them"


def read_latents_file(path: Path | str) -> LatentsFile:
    """Read and validate a file that sdcli wrote; its tensors stay on disk.

    The path of an image stands for the latents that were saved with it. Everything in the file is
    checked before it is used: tensor names and shapes, the record's request, and the steps.

    Raises UsageError (2) when there is no such file or sdcli did not write it, CorruptError (7)
    when it is cut off or contradicts itself.
    """
    source = expand_user(path)
    path = _saved_latents_path(source)
    check_regular(path)
    header = read_latents_header(path)
    _check_schema(path, header)
    _check_tensors(path, header)
    file = parse_latents_file(path, header)
    _check_record(file)
    if path != source and source.is_file():
        _check_same_image(file, source)
    return file


def read_any_latents_file(path: Path) -> LatentsFile:
    """Read a safetensors file of sdcli or of another tool; its tensors stay on disk.

    The path of an image stands for the latents that were saved with it. Neither tensors nor record
    are validated: `LatentsFile.select_tensor` checks the one tensor that is used.

    Raises UsageError (2) when there is no such file or it is not a .safetensors file, CorruptError
    (7) when it is cut off or its metadata cannot be parsed.
    """
    check_regular(path)
    if _is_image(path) and path.with_suffix(SUFFIX).is_file():
        path = path.with_suffix(SUFFIX)
    if not is_latents(path):
        raise UsageError(
            f"{path}: latents are {_LATENTS_SUFFIX} files",
            code="usage.latents",
            hint="sdcli vae encode converts images to latents",
        )
    return parse_latents_file(path, read_latents_header(path))


def is_latents(path: Path) -> bool:
    """Whether a path names latents rather than an image."""
    return path.suffix == _LATENTS_SUFFIX


def has_latents(path: Path | str) -> bool:
    """Whether `read_latents_file` would read a file: all but an image without saved latents."""
    path = expand_user(path)
    return not _is_image(path) or not path.is_file() or path.with_suffix(SUFFIX).is_file()


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in FORMATS


def _saved_latents_path(path: Path) -> Path:
    """The path of the latents that were saved with an image; any other path unchanged."""
    if not _is_image(path):
        return path
    latents = path.with_suffix(SUFFIX)
    if latents.is_file():
        return latents
    check_regular(path)
    raise UsageError(f"{path} has no saved latents", code="usage.file", hint=_HOW_TO_SAVE)


def _check_schema(path: Path, header: SafetensorsHeader) -> None:
    schema = header.metadata.get("schema")
    if schema != SCHEMA:
        problem = f"its schema is {schema!r}" if schema else "it has no schema"
        raise UsageError(
            f"{path}: not a file of latents, {problem}", code="latents.foreign", hint=_HOW_TO_SAVE
        )


def _check_tensors(path: Path, header: SafetensorsHeader) -> None:
    """Check that all tensors are latents of one image, with one shape and dtype."""
    for name in header.tensors:
        if name not in (FINAL, NOISE) and parse_tensor_name(name) is None:
            raise corrupt_error(path, f"has a tensor named {name!r}")
    layouts = {(tensor.shape, tensor.dtype) for tensor in header.tensors.values()}
    shape, dtype = layouts.pop()
    if layouts or len(shape) != 3 or 0 in shape or dtype not in FLOATS:
        raise corrupt_error(path, "has tensors that are not latents of one image")


def _check_record(file: LatentsFile) -> None:
    """Check that the record's request is valid, and that the tensors' steps are the run's."""
    if not {"record", "encoded"} & file.metadata.keys():
        raise corrupt_error(file.path, "has no record")
    if "request" in file.record:
        try:
            _ = file.request
        except SdcliError as error:
            raise corrupt_error(file.path, f"has an invalid record: {error.message}") from error
        timesteps = file.record.get("timesteps")
        if not isinstance(timesteps, list) or len(timesteps) != file.num_steps:
            raise corrupt_error(file.path, "has a record with another number of steps")
    _ = file.init_noise_sigma  # raises when it is not a number
    last = max((s for kind in (XT, X0, MODEL_OUTPUT) for s in file.steps(kind)), default=0)
    if last > file.num_steps:
        raise corrupt_error(file.path, f"has a step {last} in a run of {file.num_steps} steps")


def _check_same_image(file: LatentsFile, image: Path) -> None:
    """Raise UsageError when the image was overwritten after the latents were saved."""
    recorded = (read_image_info(image)["record"] or {}).get("pixels", {}).get("sha256")
    expected = file.record.get("pixels", {}).get("sha256")
    # Latents of an interrupted run have no hash, and images may have lost their metadata.
    if recorded and expected and recorded != expected:
        raise UsageError(
            f"{file.path} does not belong to {image}, which was made later",
            code="latents.other",
            hint=f"to use these latents, give their own path: {shlex.quote(str(file.path))}",
        )
