"""Merge the folders of shards into one, and tell what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdcli.errors import ExitCode, UsageError
from sdcli.storage import files
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.merging import (
    MergedFolder,
    MergedRun,
    check_journal,
    merge_folder,
    read_run,
)

SCHEMA = "sdcli/merge/1"


@dataclass(frozen=True, kw_only=True)
class Merge:
    """The outcome of a merge."""

    out: str
    folders: tuple[MergedFolder, ...]
    run: MergedRun

    @property
    def exit_code(self) -> ExitCode:
        """PARTIAL unless everything is there that the folders know of."""
        problems = sum(each.lost + each.different for each in self.folders) + self.run.failed
        return ExitCode.PARTIAL if problems or self.missing else ExitCode.OK

    @property
    def missing(self) -> list[int]:
        """The indices of the run's images that are not there, counted from 0."""
        return [] if self.run.is_ambiguous else self.run.missing()

    def missing_by_shard(self) -> dict[str, int]:
        """How many images are missing of each shard."""
        size = self.run.world_size or 1
        counts = Counter(index % size + 1 for index in self.missing)
        return {f"{shard}/{size}": count for shard, count in sorted(counts.items())}

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "schema": SCHEMA,
            "out": self.out,
            "folders": [asdict(folder) for folder in self.folders],
            "images": self.run.complete,
            "expected": None if self.run.is_ambiguous else self.run.images,
            "failed": self.run.failed,
            "missing": self.missing,
            "missing_by_shard": self.missing_by_shard(),
        }


def merge_folders(sources: Sequence[Path], out: Path, warn: Callable[[str], None]) -> Merge:
    """Copy the finished images of `sources` to the folder `out`; they stay where they are.

    Raises UsageError for a source that is not the folder of a batch, before anything is copied, and
    OutputError.
    """
    _check_folders(sources, out)
    files.prepare_folder(out)
    # Two merges into one folder must not choose the same names.
    with files.os_errors_as_output_errors(out), files.folder_lock(out):
        journal = Journal(out)
        try:
            merged = tuple(merge_folder(source, out, journal, warn) for source in sources)
        finally:
            journal.close()
    run = read_run(out)
    if run.is_ambiguous:
        warn("the folders hold shards of different runs: what is missing is not known")
    return Merge(out=str(out), folders=merged, run=run)


def _check_folders(sources: Sequence[Path], out: Path) -> None:
    if str(out) == files.STDOUT:
        raise UsageError(
            "--out -: images of several folders can't be written to stdout",
            code="usage.out",
            hint="give --out a folder",
        )
    for number, source in enumerate(sources):
        check_journal(source)
        if any(source.samefile(other) for other in sources[:number]):
            reason, hint = "is given twice", "merge each folder once"
        elif out.exists() and source.samefile(out):
            reason, hint = "is --out, too", "its images are there already: leave it out of the list"
        else:
            continue
        raise UsageError(f"{source} {reason}", code="usage.folder", hint=hint)
