"""Write images to their destination, with their records."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdcli.result import GenerationResult, SavedImage
from sdcli.storage import files
from sdcli.storage.companions import SUFFIXES
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.file_names import descriptive_stem, job_file_name
from sdcli.storage.metadata.record import make_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def write_image(
    result: GenerationResult,
    destination: Destination,
    *,
    versions: Mapping[str, str],
    metadata: bool = True,
    full_paths: bool = False,
) -> SavedImage:
    """Write the image of a result atomically, with its record unless `metadata` is False.

    `full_paths` is that of `make_record`.
    Raises OutputError, and BrokenPipeError when the reader has closed stdout.
    """
    started = time.perf_counter()
    data = image_bytes(
        result, destination, versions=versions, metadata=metadata, full_paths=full_paths
    )
    if destination.archive:
        destination.archive.add(job_file_name(result.job, destination), data)
        path = files.STDOUT
    else:
        path = write_bytes(data, destination, descriptive_stem(result.job))
    return SavedImage(path=path, result=result, seconds=time.perf_counter() - started)


def image_bytes(
    result: GenerationResult,
    destination: Destination,
    *,
    versions: Mapping[str, str],
    metadata: bool = True,
    full_paths: bool = False,
) -> bytes:
    """Return the bytes that `write_image` writes."""
    record = make_record(result, versions, full_paths=full_paths) if metadata else None
    return encode_image(result.pixels, destination.suffix, record)


def write_pixels(
    pixels: NDArray[np.uint8],
    destination: Destination,
    name: str,
    record: Mapping[str, Any] | None = None,
) -> str:
    """Write pixels (height, width, 3) that are not the result of a run; see `write_bytes`."""
    return write_bytes(encode_image(pixels, destination.suffix, record), destination, name)


def write_bytes(data: bytes, destination: Destination, name: str) -> str:
    """Write an encoded image atomically, and return its path ("-" is stdout).

    In a folder the file is called by the next free number and `name`. Raises OutputError, and
    BrokenPipeError when the reader has closed stdout.
    """
    path = destination.path
    match destination.kind:
        case "stdout":
            with files.os_errors_as_output_errors("stdout"):
                sys.stdout.buffer.write(data)
                # A full disk or a closed pipe must show now, not when Python exits.
                sys.stdout.buffer.flush()
            return files.STDOUT
        case "file":
            files.write_atomic(path, data, force=destination.force)
            return str(path)
        case "numbered":
            before, after = f"{path.stem}-", path.suffix
            return str(files.write_numbered(path.parent, before, after, data, SUFFIXES))
        case "folder":
            after = f"-{name}{destination.suffix}"
            return str(files.write_numbered(path, "", after, data, SUFFIXES))
