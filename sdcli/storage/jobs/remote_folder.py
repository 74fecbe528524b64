"""The place of a run's images in a store behind a URL: first the image, then its line.

The files of an image are made in a folder of this machine, and removed once they are in the store.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sdcli.job import Job
from sdcli.storage.companions import LATENTS, SUFFIXES, belongs_to_job, companion_paths, file_suffix
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.journal_index import JournalEntry, Key
from sdcli.storage.jobs.leases import Leases
from sdcli.storage.jobs.output_place import Done
from sdcli.storage.jobs.remote_journal import RemoteJournal
from sdcli.storage.jobs.saved_files import entry_from_image
from sdcli.storage.remote_store import RemoteStore


class RemoteFolder:
    """Objects of images by the entries of the journal. `path` is empty. Raises OutputError."""

    def __init__(self, store: RemoteStore, path: Path) -> None:
        self.path = path
        self._store = store
        self._sizes = store.sizes()
        # Not before: what is left of unfinished images is removed after the run.
        atexit.register(_remove_empty, path)

    def open_journal(self) -> Journal:
        """Open the journal; without one, an object for it is written."""
        return Journal(self.path, lambda: RemoteJournal(self._store))

    def open_leases(self) -> Leases:
        """Return leases that this process alone knows: a store has no locks."""
        return NoLeases()

    def close(self) -> None:
        """End the use of the folder of this machine."""
        _remove_empty(self.path)

    def is_complete(self, entry: JournalEntry) -> bool:
        """Whether the image is in the store, in its size, with its companions."""
        if not entry.name or self._size(entry.name) != entry.size:
            return False
        return all(self._size(name) is not None for name in entry.companions)

    def location(self, entry: JournalEntry) -> str:
        """The URL of the image."""
        return self._store.url_of(entry.name)

    def location_of(self, path: str) -> str:
        """The URL of a file that was saved."""
        return self._store.url_of(Path(path).name)

    def latents_location(self, entry: JournalEntry) -> str | None:
        """The URL of the image's latents, None without any."""
        names = [name for name in entry.companions if name.endswith(LATENTS)]
        return self._store.url_of(names[0]) if names else None

    def find_entry(self, name: str, job: Job) -> JournalEntry | None:
        """The entry of an object that is the complete image of the job by its own record."""
        if name not in self._sizes:
            return None
        with self._downloaded(name) as path:
            entry = entry_from_image(path, job)
            return entry._replace(size=path.stat().st_size) if entry else None

    def in_the_way(self, name: str) -> list[Path]:
        """The names that are taken, of an image and its companions."""
        path = self.path / name
        return [each for each in (path, *companion_paths(path)) if each.name in self._sizes]

    def is_own(self, path: Path, entry: JournalEntry, job: Job) -> bool:
        """Whether an object was written for the job, by the entry of its name or by its record."""
        if path.name == entry.name:
            return self._size(path.name) == entry.size
        if path.name in entry.companions:
            return True
        if file_suffix(path.name) not in SUFFIXES:
            return self.find_entry(path.name, job) is not None
        with self._downloaded(path.name) as copy:
            return belongs_to_job(copy, job.id)

    def save(
        self, path: Path, data: bytes, companions: Sequence[str], *, force: bool, done: Done
    ) -> None:
        """Save an image: its companions, then itself, and then its line in the journal."""
        del force  # what is in the way was judged before
        try:
            for name in companions:
                self._put(name, (self.path / name).read_bytes())
            self._put(path.name, data)
            done(len(data), None)
        finally:
            for name in companions:
                (self.path / name).unlink(missing_ok=True)

    def _put(self, name: str, data: bytes) -> None:
        self._store.put(name, data)
        self._sizes[name] = len(data)

    def _size(self, name: str) -> int | None:
        if name not in self._sizes and (size := self._store.size(name)) is not None:
            # Another process has written it since.
            self._sizes[name] = size
        return self._sizes.get(name)

    @contextmanager
    def _downloaded(self, name: str) -> Iterator[Path]:
        with TemporaryDirectory(prefix="sdcli-") as folder:
            path = Path(folder, name)
            path.write_bytes(self._store.get(name))
            yield path


class NoLeases:
    """Leases of a process that knows of no others."""

    def acquire(self, key: Key) -> bool:
        """Lease whatever is asked for."""
        del key
        return True

    def describe_owner(self, key: Key) -> str:
        """Nobody holds a lease."""
        del key
        return ""

    def release(self, keys: Iterable[Key]) -> None:
        """Do nothing."""
        for _ in keys:
            pass

    def has_others(self) -> bool:
        """Whether another process holds a lease, which is not known."""
        return False

    def close(self) -> None:
        """Do nothing."""


def _remove_empty(folder: Path) -> None:
    # Latents of unfinished images may have been kept, and told of.
    with suppress(OSError):
        os.rmdir(folder)
