"""Parse `--out`: a file, a numbered series, a folder, or stdout."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdcli.errors import OutputError, UsageError
from sdcli.storage import files
from sdcli.storage.images.codec import FORMATS
from sdcli.storage.images.tar_stream import TarStream

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
