"""Find a recorded file of weights again, by its hash first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from sdcli.checkpoints.file_hashes import sha256

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MOST_NEIGHBOURS: Final = 1000


def recorded_hash(digest: object) -> str | None:
    """Return a hash in a record, None for what is no SHA-256."""
    return digest if isinstance(digest, str) and _SHA256.fullmatch(digest) else None


def find_recorded(
    wanted: str | None, named: Sequence[Path], folders: Sequence[Path], suffixes: Sequence[str]
) -> Path | None:
    """Return the file with the hash `wanted`, or without a hash the first of `named`.

    Those are tried first, then the files of the folders that have one of the suffixes.
    """
    likely = [path for path in named if path.is_file()]
    # With a known hash, a file of the same name and other content is not the recorded one.
    if not wanted:
        return likely[0] if likely else None
    # The likely file comes first, since hashing large files takes long.
    candidates = (path for paths in (likely, _files_in(folders, suffixes)) for path in paths)
    return next((path for path in candidates if _hash(path) == wanted), None)


def _files_in(folders: Sequence[Path], suffixes: Sequence[str]) -> Iterator[Path]:
    for folder in dict.fromkeys(folders):
        with suppress(OSError):
            files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes)
            yield from islice((path for path in files if path.is_file()), _MOST_NEIGHBOURS)


def _hash(path: Path) -> str | None:
    with suppress(OSError):
        return sha256(path)
    return None
