"""Parse `--out`: a file, a numbered series, a folder, or stdout."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sdcli.errors import OutputError, UsageError
from sdcli.inputs.paths import output_path
from sdcli.name_template import NameTemplate
from sdcli.storage import files
from sdcli.storage.images.codec import FORMATS
from sdcli.storage.images.tar_stream import TarStream
from sdcli.storage.remote_store import RemoteStore

_OTHER_FORMATS: Final = frozenset(
    {
        *(".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".svg", ".jxl", ".jp2", ".tga"),
        *(".ppm", ".exr", ".psd", ".pdf", ".mp4", ".mov", ".webm", ".mkv", ".avi", ".json"),
        *(".txt", ".npy", ".pt", ".safetensors"),
    }
)
"""Suffixes that are rejected, because a folder of that name is not meant."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The place for the images of a run.

    `path` is a folder, one file, the pattern of a numbered series, or "-". `archive` is the tar
    stream when stdout takes one. `name_template` names the files of a folder or a series. With a
    `store`, images are moved there, and `path` is in an empty folder of this machine.
    """

    kind: Literal["stdout", "file", "numbered", "folder"]
    path: Path
    force: bool = False
    archive: TarStream | None = None
    name_template: NameTemplate | None = None
    store: RemoteStore | None = None

    @property
    def suffix(self) -> str:
        """The suffix of the image format, in lower case."""
        return self.path.suffix.lower() if self.kind in ("file", "numbered") else ".png"

    @property
    def folder(self) -> Path:
        """The folder of the images and their companion files; for stdout, a temporary folder."""
        match self.kind:
            case "folder":
                return self.path
            case "stdout":
                return Path(tempfile.gettempdir())
        return self.path.parent


def parse_destination(
    out: str, *, several: bool, force: bool, archive: bool = False, json: bool = False
) -> Destination:
    """Parse `--out`, create the folder, and check it before any work is done.

    With `archive`, stdout takes several images; with `json`, it takes none. Raises UsageError for
    an unsupported format or use of stdout, OutputError when the file exists (without `force`) or
    the folder cannot be created or written to.
    """
    path = output_path(out)
    if out == files.STDOUT:
        _check_stdout(several and not archive, json)
        return Destination(kind="stdout", path=path, archive=TarStream() if archive else None)
    suffix = path.suffix.lower()
    _check_format(out, suffix)
    # Any other suffix is part of a folder's name, as in "run.2".
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


def parse_remote_destination(url: str, *, force: bool) -> Destination:
    """Parse an `--out` that is a URL, as `parse_destination` does. Nothing is written yet."""
    parent, _, name = url.rpartition("/")
    suffix = Path(name).suffix.lower()
    _check_format(url, suffix)
    is_series = suffix in FORMATS
    store = RemoteStore(parent if is_series else url)
    # Removed when it is empty, at the end.
    folder = Path(tempfile.mkdtemp(prefix="sdcli-out-"))
    if is_series:
        return Destination(kind="numbered", path=folder / name, force=force, store=store)
    return Destination(kind="folder", path=folder, force=force, store=store)


def _check_format(out: str, suffix: str) -> None:
    if suffix in _OTHER_FORMATS:
        raise UsageError(
            f"--out {out}: unsupported output format {suffix}",
            code="usage.out",
            hint=f"use {', '.join(FORMATS)}, or a folder",
        )


def _check_stdout(several: bool, json: bool) -> None:
    if json:
        raise UsageError("--out -: stdout is the image itself, not JSON", code="usage.out")
    if several:
        raise UsageError(
            "--out -: stdout takes only one image",
            code="usage.out",
            hint="give a folder, or use --format tar with generate",
        )
    if sys.stdout.isatty():
        raise UsageError(
            "--out -: image data can't be written to a terminal",
            code="usage.out",
            hint="redirect stdout, as in `--out - > cat.png`",
        )
