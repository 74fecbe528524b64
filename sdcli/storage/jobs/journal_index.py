"""Index the journal of a folder on disk, so that a million jobs do not fill the memory."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from sdcli.errors import OutputError

_ITEMS_AT_ONCE: Final = 200
_Item = TypeVar("_Item")

Key = tuple[str, int]
"""A job's id and its occurrence in the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedImage:
    """The archive that has an image, by its name and hash, and the key of the image's sample."""

    archive: str
    sha256: str
    key: str


class JournalEntry(NamedTuple):
    """The last journal entry of a job; hashes are hex SHA-256, names relative to the folder.

    `companions` are the names of a sidecar or latents, and `former` the hashes of files that this
    entry replaced. A failed job has an `error` and no file. `serial` counts the journal's entries.
    `packed` names the archive of an image that was packed. `size` is the bytes of the file, and
    `modified` its time in nanoseconds since 1970, which an object in a store has not.
    """

    name: str = ""
    sha256: str = ""
    pixels_sha256: str = ""
    companions: tuple[str, ...] = ()
    former: frozenset[str] = frozenset()
    error: str | None = None
    serial: int = 0
    packed: PackedImage | None = None
    size: int | None = None
    modified: int | None = None

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
        """Replace the entry of a job. The file names of both count as used from now on."""
        with _sqlite_errors_as_output_errors():
            self._database.execute(
                "INSERT OR IGNORE INTO former_names "
                "SELECT name FROM entries WHERE job = ? AND occurrence = ?",
                key,
            )
            self._database.execute(f"REPLACE INTO entries {_VALUES}", _row(key, entry))

    def add(self, entries: Mapping[Key, JournalEntry]) -> list[Key]:
        """Put the entries of jobs that have none; returns the keys of the others, unchanged."""
        with _sqlite_errors_as_output_errors():
            # In their order, neighbours are on the same page.
            rows = sorted(_row(key, entry) for key, entry in entries.items())
            added = self._database.executemany(f"INSERT OR IGNORE INTO entries {_VALUES}", rows)
        if added.rowcount == len(entries):
            return []
        there = self.get_many([*entries])
        return [key for key, entry in entries.items() if there[key].serial != entry.serial]

    def get(self, key: Key) -> JournalEntry | None:
        """The entry of a job."""
        with _sqlite_errors_as_output_errors():
            row = self._database.execute(
                f"{_SELECT} WHERE job = ? AND occurrence = ?", key
            ).fetchone()
        return _parse(row[2:]) if row else None

    def get_many(self, keys: Sequence[Key]) -> dict[Key, JournalEntry]:
        """The entries of those jobs that have one: one question for many is much faster."""
        found: dict[Key, JournalEntry] = {}
        with _sqlite_errors_as_output_errors():
            for part in _parts(keys):
                marks = ", ".join(["(?, ?)"] * len(part))
                rows = self._database.execute(
                    f"WITH wanted (job, occurrence) AS (VALUES {marks}) "
                    f"{_SELECT} NATURAL JOIN wanted",
                    [*chain(*part)],
                )
                found |= {(job, occurrence): _parse(values) for job, occurrence, *values in rows}
        return found

    def loose(self) -> list[tuple[Key, JournalEntry]]:
        """The entries of images that are in no archive."""
        return [*self._select("loose")]

    def count_loose(self) -> int:
        """The number of images that are in no archive."""
        with _sqlite_errors_as_output_errors():
            self._database.execute(_INDEX_OF_STATES)
            count = "SELECT COUNT(*) FROM entries WHERE state = 'loose'"
            return int(self._database.execute(count).fetchone()[0])

    def archived(self) -> Iterator[tuple[Key, JournalEntry]]:
        """Yield the entries of images that are in an archive; they must not change meanwhile."""
        return self._select("archived")

    def _select(self, state: str) -> Iterator[tuple[Key, JournalEntry]]:
        with _sqlite_errors_as_output_errors():
            self._database.execute(_INDEX_OF_STATES)
            rows = self._database.execute(f"{_SELECT} WHERE state = ? ORDER BY serial", (state,))
            for job, occurrence, *values in rows:
                yield (job, occurrence), _parse(values)

    def has_name(self, name: str) -> bool:
        """Whether a job ever had that file name."""
        with _sqlite_errors_as_output_errors():
            self._database.execute(_INDEX_OF_NAMES)
            rows = self._database.execute(_NAMES, {"name": os.fsencode(name)})
            return rows.fetchone() is not None

    def next_occurrences(self, jobs: Sequence[str]) -> list[int]:
        """Count the ids of jobs, and return how often each was counted before."""
        numbers: list[int] = []
        with _sqlite_errors_as_output_errors():
            for part in _parts(jobs):
                counts = Counter(part)
                marks = ", ".join(["(?, ?)"] * len(counts))
                rows = self._database.execute(
                    f"INSERT INTO occurrences VALUES {marks} "
                    "ON CONFLICT DO UPDATE SET times = times + excluded.times RETURNING job, times",
                    [*chain(*counts.items())],
                ).fetchall()
                following = {job: times - counts[job] for job, times in rows}
                for job in part:
                    numbers.append(following[job])
                    following[job] += 1
        return numbers


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[start : start + _ITEMS_AT_ONCE] for start in range(0, len(items), _ITEMS_AT_ONCE))


def _row(key: Key, entry: JournalEntry) -> tuple[Any, ...]:
    return (
        *key,
        os.fsencode(entry.name),
        _to_bytes(entry.sha256),
        _to_bytes(entry.pixels_sha256),
        json.dumps(entry.companions) if entry.companions else "",
        json.dumps(sorted(entry.former)) if entry.former else "",
        None if entry.error is None else _to_bytes(entry.error),
        entry.serial,
        json.dumps(asdict(entry.packed)) if entry.packed else None,
        entry.size,
        entry.modified,
        None if entry.error else "archived" if entry.packed else "loose",
    )


def _parse(values: Sequence[Any]) -> JournalEntry:
    name, sha256, pixels_sha256, companions, former, error, serial, packed, size, modified = values
    return JournalEntry(
        name=os.fsdecode(name),
        sha256=_to_text(sha256),
        pixels_sha256=_to_text(pixels_sha256),
        companions=tuple(json.loads(companions)) if companions else (),
        former=frozenset(json.loads(former)) if former else frozenset(),
        error=None if error is None else _to_text(error),
        serial=serial,
        packed=PackedImage(**json.loads(packed)) if packed else None,
        size=size,
        modified=modified,
    )


# Nothing here must survive a crash: the index is rebuilt from the journal. A cache of 16 MiB, the
# negative size being in KiB, saves half of the system's time for the file.
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16384;
CREATE TABLE entries (
  job TEXT, occurrence INTEGER, name BLOB, sha256 BLOB, pixels_sha256 BLOB, companions TEXT,
  former TEXT, error BLOB, serial INTEGER, packed TEXT, size INTEGER, modified INTEGER, state TEXT,
  PRIMARY KEY (job, occurrence)
) WITHOUT ROWID;
CREATE TABLE former_names (name BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE occurrences (job TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID;
"""


_VALUES = f"VALUES ({', '.join('?' * 13)})"

_NAMES = (
    "SELECT 1 FROM entries WHERE name = :name "
    "UNION ALL SELECT 1 FROM former_names WHERE name = :name"
)

# Made when it is asked for: a run that finds everything done needs none.
_INDEX_OF_NAMES = "CREATE INDEX IF NOT EXISTS by_name ON entries (name)"

# Only folders with archives pay for it.
_INDEX_OF_STATES = "CREATE INDEX IF NOT EXISTS by_state ON entries (state, serial)"

_SELECT = (
    "SELECT job, occurrence, name, sha256, pixels_sha256, companions, former, error, serial, "
    "packed, size, modified FROM entries"
)


def _to_bytes(text: str) -> bytes:
    # A forged journal may have text that SQLite does not take.
    return text.encode("utf-8", "surrogatepass")


def _to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


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
