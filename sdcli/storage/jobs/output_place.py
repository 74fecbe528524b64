"""Define the place of a run's images: a folder of this machine, or of a store behind a URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sdcli.job import Job
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.journal_index import JournalEntry
from sdcli.storage.jobs.leases import Leases

Done = Callable[[int, int | None], None]
"""Writes the line of a finished image: its bytes, and when a file was modified, in nanoseconds."""


class OutputPlace(Protocol):
    """Files or objects of images by the entries of the journal. Raises OutputError.

    `path` is a folder of this machine, where the files of an image are made.
    """

    path: Path

    def open_journal(self) -> Journal:
        """Open or create the journal."""

    def open_leases(self) -> Leases:
        """Open the leases of jobs and names."""

    def close(self) -> None:
        """End the use of the place."""

    def is_complete(self, entry: JournalEntry) -> bool:
        """Whether the image and its companions are there."""

    def location(self, entry: JournalEntry) -> str:
        """The path or URL of the image."""

    def location_of(self, path: str) -> str:
        """The path or URL of a file that was saved."""

    def latents_location(self, entry: JournalEntry) -> str | None:
        """The path or URL of the image's latents, None without any."""

    def find_entry(self, name: str, job: Job) -> JournalEntry | None:
        """The entry of a file that is the complete image of the job by its own record."""

    def in_the_way(self, name: str) -> list[Path]:
        """The paths that are taken, of an image and its companions."""

    def is_own(self, path: Path, entry: JournalEntry, job: Job) -> bool:
        """Whether what is at a path was written for the job."""

    def save(
        self, path: Path, data: bytes, companions: Sequence[str], *, force: bool, done: Done
    ) -> None:
        """Save an image and its line in the journal."""
