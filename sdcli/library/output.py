"""Write results to files, and encode them for notebooks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import UsageError
from sdcli.inputs.paths import output_path
from sdcli.latents import LatentsSelection
from sdcli.runner.options import RunOptions

if TYPE_CHECKING:
    from sdcli.result import GenerationResult
    from sdcli.runner.writer import ResultWriter

_COLUMNS: Final = 4
_MOST_SHOWN: Final = 64
"""Images in a sheet: a notebook keeps every picture that it shows."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What is written for each image, as on the command line."""

    sidecar: bool = False
    no_metadata: bool = False
    record_paths: bool = False
    save_latents: LatentsSelection | str | None = None
    latents_kinds: str | None = None

    def selection(self) -> LatentsSelection | None:
        """Return the latents to save. Raises UsageError."""
        if self.latents_kinds is None:
            return LatentsSelection.coerce(self.save_latents)
        if isinstance(self.save_latents, LatentsSelection):
            raise UsageError(
                "latents_kinds has no effect with a LatentsSelection",
                code="usage.latents_kinds",
                hint="set its kinds, or use save_latents='all'",
            )
        if self.save_latents is None:
            raise UsageError(
                "latents_kinds has no effect without save_latents",
                code="usage.latents_kinds",
                hint="add save_latents='all'",
            )
        return LatentsSelection.parse(self.save_latents, self.latents_kinds)

    def run_options(self) -> dict[str, Any]:
        """Return these options as fields of RunOptions. Raises UsageError."""
        return {
            "sidecar": self.sidecar,
            "metadata": not self.no_metadata,
            "record_paths": self.record_paths,
            "save_latents": self.selection(),
        }

    def check_unused(self, *, force: bool) -> None:
        """Raise UsageError for an option that has no effect when no file is written."""
        options = {"force": force, **{name: getattr(self, name) for name in _OF_FILES}}
        for name in (name for name, value in options.items() if value):
            raise UsageError(
                f"{name} has no effect without out", code=f"usage.{name}", hint="add out='cat.png'"
            )


_OF_FILES: Final = ("sidecar", "no_metadata", "record_paths")


def open_writer(out: str | os.PathLike[str], *, images: int | None, **options: Any) -> ResultWriter:
    """Open the writer of the command line for an `out` that Python may name.

    `options` are further fields of RunOptions. Raises UsageError and OutputError.
    """
    from sdcli.runner.writer import ResultWriter

    return ResultWriter(RunOptions(out=out_path(out), expected_images=images, **options))


def save_result(
    result: GenerationResult, out: str | os.PathLike[str], files: FileOptions, *, force: bool
) -> Path:
    """Write the image and its sidecar as the command line does, and return the image's path."""
    from sdcli.runner.writer import check_companions
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_image
    from sdcli.storage.metadata.record import write_sidecar
    from sdcli.versions import library_versions

    path, paths = out_path(out), files.record_paths
    options = RunOptions(out=path, expected_images=1, force=force, sidecar=files.sidecar)
    destination = parse_destination(path, several=False, force=force)
    check_companions(destination, options)
    saved = write_image(
        result,
        destination,
        versions=library_versions(),
        metadata=not files.no_metadata,
        full_paths=paths,
    )
    if files.sidecar:
        write_sidecar(saved, library_versions(), force=force, full_paths=paths)
    return Path(saved.path)


def out_path(out: str | os.PathLike[str]) -> str:
    """Return a file or a folder as text. Raises UsageError for anything else, stdout included."""
    path = os.fspath(out) if isinstance(out, str | os.PathLike) else None
    # Standard output belongs to the program that calls.
    if not isinstance(path, str) or path in ("", "-"):
        raise UsageError(
            f"out: {out!r} is not a file or a folder",
            code="usage.out",
            hint="e.g. out='cat.png', or out='outputs' for a folder",
        )
    return str(output_path(path)) if ":" in path else path


def png_bytes(result: GenerationResult) -> bytes:
    """Return the PNG file that the command line would write, with its record."""
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.images.writer import image_bytes
    from sdcli.versions import library_versions

    folder = Destination(kind="folder", path=Path())
    return image_bytes(result, folder, versions=library_versions())


def sheet_bytes(results: Sequence[GenerationResult]) -> bytes:
    """Return a PNG of the images in rows, the first 64 at most."""
    from sdcli.storage.images.codec import encode_image
    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.sheet_layout import SheetLabels

    cells = [result.pixels for result in results[:_MOST_SHOWN]]
    columns = min(_COLUMNS, len(cells))
    rows = [
        [*cells[start : start + columns], *[None] * (start + columns - len(cells))]
        for start in range(0, len(cells), columns)
    ]
    sheet = labelled_grid(rows, SheetLabels(rows=[""] * len(rows), columns=[""] * columns))
    return encode_image(sheet, ".png", None)
