"""Write and read the journal of a folder of images: one JSON line for each finished job.

An image is done when its line is in the journal and a file with that line's hash is at its path.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Final, Protocol

from sdcli.storage import files
from sdcli.storage.jobs.journal_file import JournalFile
from sdcli.storage.jobs.journal_index import JournalEntry, JournalIndex, Key
from sdcli.storage.jobs.journal_lines import BadNameError, parse_archive, parse_entry, parse_key

NAME: Final = "sdcli-journal.jsonl"
SCHEMA: Final = "sdcli/journal/1"
_LINES_AT_ONCE: Final = 1024


class JournalLines(Protocol):
    """The lines of a journal, wherever they are kept; methods raise OSError and OutputError."""

    path: Path | str

    def close(self) -> None:
        """End the use of the lines."""

    def new_lines(self, *, refresh: bool = True) -> Iterator[bytes]:
        """Yield the complete lines since the last call; perhaps only own ones without `refresh`."""

    def append(self, line: str) -> None:
        """Append a line, completely or not at all."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock among processes."""


class Journal:
    """The journal file of `folder`, shared by any number of processes. Opening it creates it.

    `entropy` is drawn once per journal: seeds that nobody chose are derived from it, so that they
    are the same in every run. `serial` counts the lines about jobs. `open_file` opens the lines of
    a journal elsewhere. Raises OutputError.
    """

    def __init__(self, folder: Path, open_file: Callable[[], JournalLines] | None = None) -> None:
        self.path: Path | str = folder / NAME
        self.entropy = ""
        self.serial = 0
        self._ignored = 0
        self._first_ignored = ""
        self._index = JournalIndex()
        self._new: dict[Key, tuple[Mapping[str, Any], JournalEntry]] = {}
        self._threads = RLock()
        with files.os_errors_as_output_errors(self.path):
            self._file = open_file() if open_file else JournalFile(folder / NAME)
            self.path = self._file.path
            with self._locked():
                self._read_new_lines()
                if not self.entropy:
                    self._append({"event": "opened", "entropy": secrets.token_hex(16)})
                    self._read_new_lines()

    def warning(self) -> str | None:
        """A sentence about lines that are ignored for the names in them; None without any."""
        if not self._ignored:
            return None
        lines = "1 line is" if self._ignored == 1 else f"{self._ignored} lines are"
        return (
            f"{self.path}: {lines} ignored, with names that are no file names of this folder, "
            f"such as {self._first_ignored}"
        )

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        # A thread that plans may still ask: SQLite must not be closed in the middle of an answer.
        with self._threads:
            self._file.close()
            self._index.close()

    def get(self, key: Key) -> JournalEntry | None:
        """The last entry of a job."""
        with self._threads:
            return self._index.get(key)

    def get_many(self, keys: Sequence[Key]) -> dict[Key, JournalEntry]:
        """The last entries of those jobs that have one."""
        with self._threads:
            return self._index.get_many(keys)

    def has_name(self, name: str) -> bool:
        """Whether any job ever had that file name."""
        with self._threads:
            return self._index.has_name(name)

    def next_occurrences(self, jobs: Sequence[str]) -> list[int]:
        """Count the ids of jobs, and return how often each was counted before."""
        with self._threads, self._index.transaction():
            return self._index.next_occurrences(jobs)

    def refresh(self) -> None:
        """Read the lines that other processes have written since."""
        with files.os_errors_as_output_errors(self.path), self._threads:
            self._read_new_lines()

    def done(self, key: Key, entry: JournalEntry, **facts: object) -> None:
        """Write, flushed to the disk, that the job's file is complete.

        Call it before the file gets its name: a crash between the two then leaves an entry without
        a file, which is made again, and never a file that the journal does not know.
        """
        hashes = {"sha256": entry.sha256, "pixels_sha256": entry.pixels_sha256}
        line = {"event": "image", **_key_fields(key), "name": entry.name, **hashes}
        file = {"size": entry.size, "modified": entry.modified}
        known = {name: value for name, value in file.items() if value is not None}
        self._write({**line, **known, "beside": entry.companions, **facts})

    def packed(self, archive: str, sha256: str, samples: Sequence[tuple[Key, str]]) -> None:
        """Write that the files of these jobs are in an archive, under such keys.

        Call it before the archive gets its name, as with `done`. The hash tells it from another
        archive, which gets the name after a crash between the two.
        """
        fields = [[*key, name] for key, name in samples]
        self._write({"event": "archive", "name": archive, "sha256": sha256, "samples": fields})

    def count_loose(self) -> int:
        """The number of images that are in no archive."""
        with self._threads:
            return self._index.count_loose()

    def loose(self) -> list[tuple[Key, JournalEntry]]:
        """The entries whose images are in no archive."""
        with self._threads:
            return self._index.loose()

    def archived(self) -> Iterator[tuple[Key, JournalEntry]]:
        """Yield the entries whose images are in an archive; nothing must be written meanwhile."""
        return self._index.archived()

    def sharded(self, shard: str, images: int | None) -> None:
        """Write that a process begins its share of a run of so many images, None if unknown."""
        self._write({"event": "shard", "shard": shard, "images": images})

    def failed(self, key: Key, code: str, message: str) -> None:
        """Write that the job failed."""
        self._write({"event": "failed", **_key_fields(key), "error": code, "message": message})

    def _write(self, line: Mapping[str, object]) -> None:
        with files.os_errors_as_output_errors(self.path), self._locked():
            self._append(line)
            self._read_new_lines(refresh=False)

    def _append(self, line: Mapping[str, object]) -> None:
        """Append a line, completely or not at all. The caller holds the lock."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._file.append(json.dumps({"schema": SCHEMA, "at": at, **line}) + "\n")

    def _read_new_lines(self, *, refresh: bool = True) -> None:
        with self._index.transaction():
            try:
                for line in self._file.new_lines(refresh=refresh):
                    self._index_line(line)
            finally:
                self._add_new()

    def _index_line(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "opened":
                # Whatever it is, it must be the same text in every start.
                self.entropy = self.entropy or ascii(event["entropy"]).strip("'")
            elif kind in ("image", "failed"):
                key = parse_key(event)
                entry = parse_entry(event, None, self.serial + 1)
                if key in self._new or len(self._new) >= _LINES_AT_ONCE:
                    self._add_new()
                self._new[key] = event, entry
                self.serial += 1
            elif kind == "archive":
                self._add_new()
                for key, packed in parse_archive(event):
                    if found := self._index.get(key):
                        self._index.put(key, found._replace(packed=packed))
        except BadNameError as error:
            self._ignored += 1
            self._first_ignored = self._first_ignored or str(error)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return  # torn by a crash, or written by a later version

    def _add_new(self) -> None:
        """Index the entries of jobs that were read: one question for many is much faster."""
        new, self._new = self._new, {}
        # Most jobs have one line: a second is seen when it does not fit.
        for key in self._index.add({key: entry for key, (_, entry) in new.items()}):
            event, entry = new[key]
            self._index.put(key, parse_entry(event, self._index.get(key), entry.serial))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads, self._file.locked():
            yield


def _key_fields(key: Key) -> dict[str, object]:
    return {"job": key[0], "occurrence": key[1]}
