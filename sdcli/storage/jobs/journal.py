"""The journal of a folder of images: one line an event, on disk before the image has its name.

An image is done when its line is here and a file with that line's hash lies at its path. The line
comes first, so a crash between the two leaves a missing file and never one that nobody knows.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, Final

from sdcli.storage import files
from sdcli.storage.jobs.journal_index import JournalEntry, JournalIndex, Key

NAME: Final = "sdcli-journal.jsonl"
SCHEMA: Final = "sdcli/journal/1"


class Journal:
    """The journal file of `folder`, shared by any number of processes. Opening it creates it.

    `entropy` is drawn once a journal: seeds that nobody chose come from it, and stay. Raises
    OutputError.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.entropy = ""
        self.serial = 0
        self._index = JournalIndex()
        self._read = 0
        self._threads = RLock()
        with files.os_errors_as_output_errors(self.path):
            self._handle = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666)
            with self._locked():
                self._refresh()
                if not self.entropy:
                    self._append({"event": "opened", "entropy": secrets.token_hex(16)})
                    self._refresh()

    def close(self) -> None:
        """Close the file; the journal is of no more use."""
        os.close(self._handle)
        self._index.close()

    def get(self, key: Key) -> JournalEntry | None:
        """What the journal last said of a job."""
        with self._threads:
            return self._index.get(key)

    def has_name(self, name: str) -> bool:
        """Whether any job ever had that file name."""
        with self._threads:
            return self._index.has_name(name)

    def next_occurrence(self, job: str) -> int:
        """How often this run met the job's id before, this call not counted."""
        with self._threads:
            return self._index.next_occurrence(job)

    def refresh(self) -> None:
        """Read what other processes wrote since."""
        with files.os_errors_as_output_errors(self.path), self._threads:
            self._refresh()

    def done(self, key: Key, entry: JournalEntry, **more: object) -> None:
        """Write, flushed to the disk, that the job's file is about to have its name."""
        facts = {"name": entry.name, "sha256": entry.sha256, "pixels_sha256": entry.pixels_sha256}
        self._write({"event": "image", **_keyed(key), **facts, "beside": entry.beside, **more})

    def failed(self, key: Key, code: str, message: str) -> None:
        """Write that the job cannot be made."""
        self._write({"event": "failed", **_keyed(key), "error": code, "message": message})

    def _write(self, line: Mapping[str, object]) -> None:
        with files.os_errors_as_output_errors(self.path), self._locked():
            self._append(line)
            self._refresh()

    def _append(self, line: Mapping[str, object]) -> None:
        """Append a line, whole or not at all, with the lock held."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = json.dumps({"schema": SCHEMA, "at": at, **line}) + "\n"
        status = os.fstat(self._handle)
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the journal was removed while it was in use")
        size = status.st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            text = "\n" + text  # after the torn line of a process that was killed
        data = text.encode("ascii")
        try:
            if os.write(self._handle, data) != len(data):
                raise OSError(
                    errno.ENOSPC, os.strerror(errno.ENOSPC)
                )  # a full disk takes what still fits
            os.fsync(self._handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle, size)
            raise

    def _refresh(self) -> None:
        """Take in the whole lines that were not yet read; a torn one waits for its end."""
        with open(self.path, "rb") as file, self._index.transaction():
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "opened":
                self.entropy = self.entropy or str(event["entropy"])
            elif kind in ("image", "failed"):
                key = (str(event["job"]), int(event["occurrence"]))
                self.serial += 1
                self._index.put(key, _entry(event, self._index.get(key), self.serial))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return  # torn by a crash, or a later version's

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads:
            with suppress(OSError):  # a disk without locks: lines are single writes all the same
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                with suppress(OSError):
                    fcntl.flock(self._handle, fcntl.LOCK_UN)


def _keyed(key: Key) -> dict[str, object]:
    return {"job": key[0], "occurrence": key[1]}


def _entry(event: Mapping[str, Any], before: JournalEntry | None, serial: int) -> JournalEntry:
    """The entry of a line; a failure keeps the name of the file that was there before."""
    former = (before.former | {before.sha256}) if before else frozenset()
    failed = event["event"] == "failed"
    return JournalEntry(
        name=before.name if before and failed else Path(str(event.get("name", ""))).name,
        sha256=str(event.get("sha256", "")),
        pixels_sha256=str(event.get("pixels_sha256", "")),
        beside=tuple(Path(str(name)).name for name in event.get("beside", ())),
        former=former - {""},
        serial=serial,
        error=f"{event['error']}: {event.get('message', '')}" if failed else None,
    )
