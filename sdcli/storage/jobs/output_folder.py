"""The folder of a run on this machine: its journal, its leases, and the files of its images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sdcli.job import Job
from sdcli.storage import files
from sdcli.storage.companions import LATENTS, belongs_to_job, existing_companions, file_suffix
from sdcli.storage.jobs.archive_reader import ArchiveReader
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.journal_index import JournalEntry
from sdcli.storage.jobs.leases import JobLeases, Leases
from sdcli.storage.jobs.output_place import Done
from sdcli.storage.jobs.saved_files import (
    at_file,
    entry_from_image,
    is_complete,
    modification,
    was_written_for,
)


class OutputFolder:
    """Files of images by the entries of the journal. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Pathlib takes longer to join two names than to look at the file.
        self._before_name = str(path / "_")[:-1]
        self._archives = ArchiveReader(path)

    def open_journal(self) -> Journal:
        """Open or create the journal."""
        return Journal(self.path)

    def open_leases(self) -> Leases:
        """Open the leases of jobs and names, which other processes share."""
        return JobLeases(self.path)

    def close(self) -> None:
        """End the use of the folder."""

    def is_complete(self, entry: JournalEntry) -> bool:
        """Whether the image and its companions are there, in files or in an archive."""
        return self.is_packed(entry) or is_complete(self.path, entry)

    def is_packed(self, entry: JournalEntry) -> bool:
        """Whether an archive has the image."""
        return entry.packed is not None and self._archives.has(entry.packed)

    def location(self, entry: JournalEntry) -> str:
        """The path of the image: a file, or the archive and the name within."""
        if entry.packed and self.is_packed(entry):
            suffix = Path(entry.name).suffix
            return str(self.path / entry.packed.archive / f"{entry.packed.key}{suffix}")
        return f"{self._before_name}{entry.name}"

    def location_of(self, path: str) -> str:
        """The path of a file that was saved."""
        return path

    def latents_location(self, entry: JournalEntry) -> str | None:
        """The path of the image's latents, None without any."""
        names = [name for name in entry.companions if name.endswith(LATENTS)]
        if not names:
            return None
        if entry.packed and self.is_packed(entry):
            return str(self.path / entry.packed.archive / f"{entry.packed.key}{LATENTS}")
        return str(self.path / names[0])

    def read(self, entry: JournalEntry, name: str) -> bytes:
        """The bytes of an image, or of a companion by its name. Raises OSError and CorruptError."""
        if entry.packed and self.is_packed(entry):
            return self._archives.read(entry.packed, file_suffix(name))
        return (self.path / name).read_bytes()

    def find_entry(self, name: str, job: Job) -> JournalEntry | None:
        """The entry of a file that is the complete image of the job by its own record."""
        path = self.path / name
        entry = entry_from_image(path, job) if path.is_file() else None
        return entry and at_file(entry, path)

    def in_the_way(self, name: str) -> list[Path]:
        """The files that are at the path of an image and its companions."""
        path = self.path / name
        return [*([path] if os.path.lexists(path) else []), *existing_companions(path)]

    def is_own(self, path: Path, entry: JournalEntry, job: Job) -> bool:
        """Whether a file was written for the job, by the entry of its name or by its record."""
        if path.name == entry.name:
            return was_written_for(path, entry)
        # After a crash, the companions are there without an image or an entry.
        return path.name in entry.companions or belongs_to_job(path, job.id)

    def save(
        self, path: Path, data: bytes, companions: Sequence[str], *, force: bool, done: Done
    ) -> None:
        """Save an image: first its line in the journal, then its file, which appears complete."""
        del companions  # they are at their place
        files.write_atomic(
            path, data, force=force, announce=lambda file: done(*modification(file.stat()))
        )

    def remove_files(self, entry: JournalEntry, job_id: str) -> None:
        """Remove the files of an image that is in an archive; what others wrote stays."""
        path = self.path / entry.name
        with files.os_errors_as_output_errors(path):
            if was_written_for(path, entry._replace(packed=None)):
                path.unlink(missing_ok=True)
            for companion in (self.path / name for name in entry.companions):
                if belongs_to_job(companion, job_id):
                    companion.unlink(missing_ok=True)
