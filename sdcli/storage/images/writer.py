"""Results to image files: where they go, what they are called, and that they are whole."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdcli.job import Job
from sdcli.result import GenerationResult, SavedImage
from sdcli.storage import files
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.destination import Destination
from sdcli.storage.metadata import record
from sdcli.storage.text import slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def write_image(
    result: GenerationResult,
    destination: Destination,
    *,
    versions: Mapping[str, str],
    metadata: bool = True,
) -> SavedImage:
    """Write the image, whole or not at all, with its record unless `metadata` is False.

    Raises OutputError. A closed stdout raises BrokenPipeError, for the caller to end quietly.
    """
    started = time.perf_counter()
    data = image_bytes(result, destination, versions=versions, metadata=metadata)
    if destination.archive:
        destination.archive.add(job_file_name(result.job, destination), data)
        path = files.STDOUT
    else:
        path = write_bytes(data, destination, f"{slug(result.job.prompt)}-{result.job.seed}")
    return SavedImage(path=path, result=result, seconds=time.perf_counter() - started)


def image_bytes(
    result: GenerationResult,
    destination: Destination,
    *,
    versions: Mapping[str, str],
    metadata: bool = True,
) -> bytes:
    """The bytes that `write` writes."""
    facts = record.make_record(result, versions) if metadata else None
    return encode_image(result.pixels, destination.suffix, facts)


def job_file_name(job: Job, destination: Destination) -> str:
    """The file name of a job in a folder that keeps a journal: by its place in the run."""
    if destination.kind in ("folder", "stdout"):
        return f"{job.index + 1:04d}-{slug(job.prompt)}-{job.seed}{destination.suffix}"
    return f"{destination.path.stem}-{job.index + 1:04d}{destination.path.suffix}"


def write_pixels(
    pixels: NDArray[np.uint8],
    destination: Destination,
    name: str,
    record: Mapping[str, Any] | None = None,
) -> str:
    """Write an image (height, width, 3) that is no run's own; in a folder it is called `name`.

    The path, as it is for `write`, which says what is raised.
    """
    return write_bytes(encode_image(pixels, destination.suffix, record), destination, name)


def write_bytes(data: bytes, destination: Destination, name: str) -> str:
    """Write the bytes, whole or not at all; in a folder with a number before the name. The path.

    Raises OutputError. A closed stdout raises BrokenPipeError, for the caller to end quietly.
    """
    path = destination.path
    match destination.kind:
        case "stdout":
            with files.os_errors_as_output_errors("stdout"):
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            return files.STDOUT
        case "file":
            files.write_atomic(path, data, force=destination.force)
            return str(path)
        case "numbered":
            before, after = f"{path.stem}-", path.suffix
            return str(files.write_numbered(path.parent, before, after, data))
        case "folder":
            after = f"-{name}{destination.suffix}"
            return str(files.write_numbered(path, "", after, data))
