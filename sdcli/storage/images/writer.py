"""Results to image files: where they go, what they are called, and that they are whole."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sdcli.errors import OutputError, UsageError
from sdcli.planning.resolve import Job
from sdcli.result import GenerationResult, SavedImage
from sdcli.storage import files
from sdcli.storage.images.codec import FORMATS, encode_image
from sdcli.storage.images.tar_stream import TarStream
from sdcli.storage.metadata import record
from sdcli.storage.text import slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OTHER_FORMATS = frozenset(
    {
        *(".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".svg", ".jxl", ".jp2", ".tga"),
        *(".ppm", ".exr", ".psd", ".pdf", ".mp4", ".mov", ".webm", ".mkv", ".avi", ".json"),
        *(".txt", ".npy", ".pt", ".safetensors"),
    }
)
"""What would else become the name of a folder."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where images go: `path` is a folder, one file, the pattern of numbered files, or "-".

    `archive` is the tar that stdout is, or None.
    """

    kind: Literal["stdout", "file", "numbered", "folder"]
    path: Path
    force: bool = False
    archive: TarStream | None = None

    @property
    def suffix(self) -> str:
        """The image format, as a file name tells it."""
        return self.path.suffix.lower() if self.kind in ("file", "numbered") else ".png"

    @property
    def folder(self) -> Path:
        """Where files beside the images lie; for stdout, the system's temporary folder."""
        match self.kind:
            case "folder":
                return self.path
            case "stdout":
                return Path(tempfile.gettempdir())
        return self.path.parent


def parse_destination(
    out: str, *, several: bool, force: bool, archive: bool = False, json: bool = False
) -> Destination:
    """Understand `--out`, and fail now rather than after the work.

    Makes the folder. With `archive`, "-" takes several images, with `json` none. Raises UsageError
    for an image format that is not written, OutputError when the file exists (without `force`) or
    the folder cannot be made or written to.
    """
    path = Path(out).expanduser()
    if out == files.STDOUT:
        _check_stdout(several and not archive, json)
        return Destination(kind="stdout", path=path, archive=TarStream() if archive else None)
    suffix = path.suffix.lower()
    if suffix in _OTHER_FORMATS:
        raise UsageError(
            f"--out {out}: {suffix} is not written",
            code="usage.out",
            hint=f"one of {', '.join(FORMATS)}, or a folder",
        )
    if suffix not in FORMATS or path.is_dir():
        files.prepare_folder(path)
        return Destination(kind="folder", path=path, force=force)
    files.prepare_folder(path.parent)
    if several:
        return Destination(kind="numbered", path=path, force=force)
    if path.exists() and not force:
        raise OutputError(
            f"{path} exists", code="output.exists", hint="choose another name, or add --force"
        )
    return Destination(kind="file", path=path, force=force)


def _check_stdout(several: bool, json: bool) -> None:
    if json:
        raise UsageError("--out -: stdout is the image itself", code="usage.out")
    if several:
        raise UsageError(
            "--out -: stdout takes one image",
            code="usage.out",
            hint="give a folder; generate takes --format tar, too",
        )
    if sys.stdout.isatty():
        raise UsageError(
            "--out -: image bytes would upset the terminal",
            code="usage.out",
            hint="redirect them, as in `--out - > cat.png`",
        )


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
