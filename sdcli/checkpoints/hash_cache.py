"""Keep the hashes of large files on disk, so that each file is read for them only once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdcli.inputs.paths import cache_folder

_MIN_BYTES: Final = 32 << 20
"""Smaller files are hashed again in less than a tenth of a second."""

_MAX_ENTRY_BYTES: Final = 1 << 16
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileState:
    """What changes when a file is replaced or written to."""

    path: Path
    size: int
    mtime_ns: int
    inode: int


def find(state: FileState) -> str | None:
    """Return the SHA-256 of a file in that state, None if it is not known."""
    if state.size < _MIN_BYTES:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        path = _entry_path(state)
        if path.stat().st_size <= _MAX_ENTRY_BYTES:
            entry = json.loads(path.read_bytes())
            digest = entry.pop("sha256")
            if entry == _describe(state) and _SHA256.fullmatch(digest):
                return str(digest)
    return None


def store(state: FileState, digest: str) -> None:
    """Keep the SHA-256 of a file in that state; without a writable cache, nothing happens."""
    if state.size < _MIN_BYTES:
        return
    with suppress(OSError):
        path = _entry_path(state)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({**_describe(state), "sha256": digest}), "utf-8")
        os.replace(new, path)


def _entry_path(state: FileState) -> Path:
    # surrogateescape: a file's name may be any bytes.
    name = hashlib.sha256(os.fsencode(state.path)).hexdigest()[:32]
    return cache_folder() / "hashes" / f"{name}.json"


def _describe(state: FileState) -> dict[str, object]:
    return {
        "path": str(state.path),
        "size": state.size,
        "mtime_ns": state.mtime_ns,
        "inode": state.inode,
    }
