"""Index the journal of a folder on disk, so that a million jobs do not fill the memory."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from sdcli.errors import OutputError

Key = tuple[str, int]
"""A job's id and its occurrence in the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalEntry:
    """The last journal entry of a job; hashes are hex SHA-256, names relative to the folder.

    `companions` are the names of a sidecar or latents, and `former` the hashes of files that this
    entry replaced. A failed job has an `error` and no file. `serial` counts the
    journal's entries.
    """

    name: str = ""
    sha256: str = ""
    pixels_sha256: str = ""
    companions: tuple[str, ...] = ()
    former: frozenset[str] = frozenset()
    error: str | None = None
    serial: int = 0

    def has_hash(self) -> bool:
        """Whether a file can be compared with the entry."""
        return bool(self.sha256 or self.pixels_sha256)


class JournalIndex:
    """Entries by job, the file names in use, and how often each job was counted.

    Not thread-safe. Raises OutputError when the system's temporary folder is full.
    """

    def __init__(self) -> None:
        # The empty name is SQLite's private temporary file: deleted with the process, and held in
        # memory only up to its small cache. Threads take turns under the journal's lock.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Delete the index."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group changes: one transaction is much faster than many."""
        with _sqlite_errors_as_output_errors():
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                # A full disk has already rolled the transaction back.
                if self._database.in_transaction:
                    self._database.execute("COMMIT")

    def put(self, key: Key, entry: JournalEntry) -> None:
        """Replace the entry of a job. Its file name counts as used from now on."""
        text = json.dumps(asdict(entry) | {"former": sorted(entry.former)})
        with _sqlite_errors_as_output_errors():
            self._database.execute("REPLACE INTO entries VALUES (?, ?, ?)", (*key, text))
            self._database.execute(
                "INSERT OR IGNORE INTO names VALUES (?)", (os.fsencode(entry.name),)
            )

    def get(self, key: Key) -> JournalEntry | None:
        """The entry of a job."""
        with _sqlite_errors_as_output_errors():
            row = self._database.execute(
                "SELECT entry FROM entries WHERE job = ? AND occurrence = ?", key
            ).fetchone()
        if row is None:
            return None
        values = json.loads(row[0])
        values["companions"] = tuple(values["companions"])
        values["former"] = frozenset(values["former"])
        return JournalEntry(**values)

    def has_name(self, name: str) -> bool:
        """Whether a job ever had that file name."""
        with _sqlite_errors_as_output_errors():
            rows = self._database.execute(
                "SELECT 1 FROM names WHERE name = ?", (os.fsencode(name),)
            )
            return rows.fetchone() is not None

    def next_occurrence(self, job: str) -> int:
        """Count a job's id, and return how often it was counted before."""
        with _sqlite_errors_as_output_errors():
            [[times]] = self._database.execute(
                "INSERT INTO occurrences VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 "
                "RETURNING times",
                (job,),
            ).fetchall()
        return int(times) - 1


# Nothing here must survive a crash: the index is rebuilt from the journal.
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE entries (job TEXT, occurrence INTEGER, entry TEXT, PRIMARY KEY (job, occurrence))
  WITHOUT ROWID;
CREATE TABLE names (name BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE occurrences (job TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID;
"""


@contextmanager
def _sqlite_errors_as_output_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"the temporary folder: {error}",
            code="output.full",
            hint="free some space there, or set SQLITE_TMPDIR to a folder on another disk",
        ) from error
