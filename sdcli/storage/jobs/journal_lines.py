"""Parse the lines of a journal, which another program may have written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sdcli.storage.jobs.journal_index import JournalEntry, Key, PackedImage

_MAX_NAME_BYTES: Final = 255
_INTEGERS: Final = range(-(2**63), 2**63)
"""The integers that SQLite takes."""


class BadNameError(Exception):
    """A name in the journal that is no file name of the folder."""


def parse_key(event: Mapping[str, Any]) -> Key:
    """The job of a line. Raises ValueError for one that no run can have."""
    job, occurrence = str(event["job"]), int(event["occurrence"])
    # SQLite takes neither half of a surrogate pair nor large integers.
    job.encode()
    if occurrence not in _INTEGERS:
        raise ValueError(occurrence)
    return job, occurrence


def parse_entry(
    event: Mapping[str, Any], previous: JournalEntry | None, serial: int
) -> JournalEntry:
    """The entry of a line; a failure keeps the file name of the previous entry.

    Raises BadNameError for names that reach outside the folder, or that no file can have.
    """
    former = (previous.former | {previous.sha256}) if previous else frozenset()
    is_failure = event["event"] == "failed"
    name = previous.name if previous and is_failure else _file_name(event.get("name", ""))
    return JournalEntry(
        name=name,
        sha256=_hash(event.get("sha256")),
        pixels_sha256=_hash(event.get("pixels_sha256")),
        companions=tuple(map(_file_name, event.get("beside", ()))),
        former=former - {""},
        serial=serial,
        size=_integer(event.get("size")),
        modified=_integer(event.get("modified")),
        error=f"{event['error']}: {event.get('message', '')}" if is_failure else None,
    )


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and value in _INTEGERS else None


def parse_archive(event: Mapping[str, Any]) -> Iterator[tuple[Key, PackedImage]]:
    """Yield the jobs whose images a line says to be in an archive. Raises as `parse_entry` does."""
    archive, sha256 = _file_name(event["name"]), _hash(event["sha256"])
    for job, occurrence, key in event["samples"]:
        packed = PackedImage(archive=archive, sha256=sha256, key=_file_name(key))
        yield (str(job), int(occurrence)), packed


def _file_name(name: object) -> str:
    """Check a name of the journal, which may be forged: a file of the folder, or ""."""
    if not isinstance(name, str) or "/" in name or "\0" in name or name in (".", ".."):
        raise BadNameError(ascii(name))
    try:
        is_short = len(os.fsencode(name)) <= _MAX_NAME_BYTES
    except UnicodeEncodeError as error:
        raise BadNameError(ascii(name)) from error
    if not is_short:
        raise BadNameError(ascii(f"{name[:40]}…"))
    return name


def _hash(value: object) -> str:
    return value if isinstance(value, str) else ""
