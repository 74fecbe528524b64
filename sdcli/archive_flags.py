"""Options that pack the images of a batch into archives."""

from __future__ import annotations

from dataclasses import dataclass

from sdcli.errors import UsageError
from sdcli.field_metadata import setting


@dataclass(frozen=True, kw_only=True)
class ArchiveFlags:
    """The archives of a batch."""

    archive: str | None = setting(
        None,
        "--archive",
        choices=("tar",),
        help="tar: pack the images into archives, each image with its record and its prompt, as "
        "WebDataset reads them. Until an archive is full, its images are files.",
    )
    shards_of: int | None = setting(
        None,
        "--shards-of",
        metavar="N",
        help="The number of images in an archive; the last one may have fewer.",
        minimum=1,
        maximum=1_000_000,
    )

    def size(self, out: str, grid: str | None) -> int | None:
        """The images of an archive, None for files. Raises UsageError.

        `out` and `grid` are those of the command line.
        """
        if (self.archive is None) != (self.shards_of is None):
            given, other = "--archive", "--shards-of N"
            if self.archive is None:
                given, other = "--shards-of", "--archive tar"
            raise UsageError(f"{given} needs {other}", code="usage.archive", hint=f"add {other}")
        reason = hint = None
        if self.archive and out == "-":
            reason, hint = (
                "can't write to stdout",
                "use --format tar for a stream, or give a folder",
            )
        elif self.archive and grid is not None:
            reason = "can't be used with --grid, which is drawn from image files"
            hint = "run the same command with --grid first"
        if reason:
            raise UsageError(f"--archive {reason}", code="usage.archive", hint=hint)
        return self.shards_of
