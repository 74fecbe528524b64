"""What is known of the jobs of a batch, kept on disk: a million of them must not fill the memory.

SQLite's unnamed database is a temporary file of its own choosing, gone with the process, of which a
small cache is in memory. It is never the truth: that is the journal, from which it is made anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from sdcli.errors import OutputError

Key = tuple[str, int]
"""A job's id and its occurrence in the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalEntry:
    """What the journal last said of a job; hashes are hex SHA-256, names relative to the folder.

    `former` are the hashes of files that this entry replaced, `beside` the names of a sidecar or
    latents; a failed job has an `error` and no file. `serial` counts the journal's events.
    """

    name: str = ""
    sha256: str = ""
    pixels_sha256: str = ""
    beside: tuple[str, ...] = ()
    former: frozenset[str] = frozenset()
    error: str | None = None
    serial: int = 0


class JournalIndex:
    """Entries by job, names that were given, and how often each job was met.

    For one thread at a time. Raises OutputError when the system's temporary folder is full.
    """

    def __init__(self) -> None:
        # Threads take turns under the journal's lock.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Many changes for the price of one."""
        with _translated():
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                if self._database.in_transaction:  # a full disk ends it
                    self._database.execute("COMMIT")

    def put(self, key: Key, entry: JournalEntry) -> None:
        """Keep what is known of a job now; its name stays taken for good."""
        text = json.dumps(asdict(entry) | {"former": sorted(entry.former)})
        with _translated():
            self._database.execute("REPLACE INTO entries VALUES (?, ?, ?)", (*key, text))
            self._database.execute("INSERT OR IGNORE INTO names VALUES (?)", (entry.name,))

    def get(self, key: Key) -> JournalEntry | None:
        """What is known of a job."""
        with _translated():
            found = self._database.execute(
                "SELECT entry FROM entries WHERE job = ? AND occurrence = ?", key
            ).fetchone()
        if found is None:
            return None
        facts = json.loads(found[0])
        return JournalEntry(
            **facts | {"beside": tuple(facts["beside"]), "former": frozenset(facts["former"])}
        )

    def has_name(self, name: str) -> bool:
        """Whether a job ever had that file name."""
        with _translated():
            found = self._database.execute("SELECT 1 FROM names WHERE name = ?", (name,))
            return found.fetchone() is not None

    def next_occurrence(self, job: str) -> int:
        """How often this was asked of the job's id before."""
        with _translated():
            [[met]] = self._database.execute(
                "INSERT INTO met VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 "
                "RETURNING times",
                (job,),
            ).fetchall()
        return int(met) - 1


_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE entries (job TEXT, occurrence INTEGER, entry TEXT, PRIMARY KEY (job, occurrence))
  WITHOUT ROWID;
CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE met (job TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID;
"""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"the temporary folder: {error}",
            code="output.full",
            hint="free some space there, or set SQLITE_TMPDIR to a folder on another disk",
        ) from error
