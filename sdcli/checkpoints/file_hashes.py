"""Hash files, and compare them with the hashes that others give of them.

safetensors has no checksum: a changed byte in its numbers is a model of its own, which draws
something. Only a hash from elsewhere tells that a file is damaged.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from sdcli.checkpoints import hash_cache
from sdcli.checkpoints.hash_cache import FileState
from sdcli.errors import CorruptError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")

# What sha256sum prints, with a name or without, and BSD's form of it.
_SIDECAR_LINE: Final = re.compile(
    r"\\?(?P<hash>[0-9a-fA-F]{64})(?:\s+\*?(?P<name>.+))?"
    r"|SHA256 ?\((?P<bsd_name>.+)\) ?= ?(?P<bsd_hash>[0-9a-fA-F]{64})"
)
_MAX_SIDECAR_BYTES: Final = 1 << 16


class GivenHash(NamedTuple):
    """The SHA-256 that a file should have. `origin` says where that is written."""

    sha256: str
    origin: str
    hint: str


def given_hashes(path: Path) -> Iterator[GivenHash]:
    """Yield the hashes that the hub and files beside `path` give of it."""
    if name := _hash_in_name(path):
        repo = path.resolve().parents[1].name.removeprefix("models--").replace("--", "/")
        hint = f"sdcli models rm {repo}, then sdcli models pull {repo}"
        yield GivenHash(name, "the hub", hint)
    sidecars = path.with_name(f"{path.name}.sha256"), path.with_suffix(".sha256")
    for sidecar in dict.fromkeys(sidecars):
        if digest := _read_sidecar(sidecar, path.name):
            hint = f"download the file again; if it is meant to differ, delete {sidecar.name}"
            yield GivenHash(digest, sidecar.name, hint)


def verified_sha256(label: str, path: Path) -> str:
    """Return the SHA-256 of what is in the file. Raises OSError.

    A file whose size and time have not changed since it was hashed is not read again. Raises
    CorruptError, which begins with the label, if another hash is given.
    """
    actual = file_sha256(path)
    check_hash(label, path, actual)
    return actual


def check_hash(label: str, path: Path, actual: str) -> None:
    """Raise CorruptError, which begins with the label, if another hash is given of the file."""
    for given in given_hashes(path):
        if given.sha256 != actual:
            raise CorruptError(
                f"{label}: {path} is damaged: its SHA-256 is {actual[:10]}…, and {given.origin} "
                f"says {given.sha256[:10]}…",
                code="model.damaged",
                hint=given.hint,
            )


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file in hex, for one of the hub as the hub says. Raises OSError.

    Cached by path, size, modification time and inode; that of a large file also on disk.
    """
    return _hash_in_name(path) or file_sha256(path)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of what was in the file when it was hashed. Raises OSError."""
    return _hash_file(state_of(path))


def hash_again(path: Path) -> str:
    """Return the SHA-256 of what is in the file now. Raises OSError.

    It is kept, but not in the place of an earlier one of the same size and time, the only sign of a
    disk that has lost a bit, unless another hash is given.
    """
    state = state_of(path)
    with state.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if any(given_hashes(path)) or not hash_cache.find(state):
        hash_cache.store(state, digest)
    return digest


def earlier_hash(path: Path) -> str | None:
    """Return the SHA-256 from when the file was last read, if its size and time are the same."""
    return hash_cache.find(state_of(path))


def known_sha256(path: Path) -> str | None:
    """Return the SHA-256 if it is known without reading the file. Raises OSError."""
    return _hash_in_name(path) or hash_cache.find(state_of(path))


def state_of(path: Path) -> FileState:
    """Return the state of the file, with links followed. Raises OSError."""
    target = path.resolve()
    stat = target.stat()
    return FileState(target, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _hash_in_name(path: Path) -> str | None:
    # In the Hugging Face cache, a file is a link to a blob that is named after its hash.
    target = path.resolve()
    is_blob = target.parent.name == "blobs" and _SHA256.fullmatch(target.name)
    return target.name if is_blob else None


def _read_sidecar(sidecar: Path, name: str) -> str | None:
    with suppress(OSError, ValueError):
        if not sidecar.is_file() or sidecar.stat().st_size > _MAX_SIDECAR_BYTES:
            return None
        for line in sidecar.read_text("utf-8-sig").splitlines():
            match = _SIDECAR_LINE.fullmatch(line.strip())
            if match and _names(match["name"] or match["bsd_name"], name):
                return str(match["hash"] or match["bsd_hash"]).lower()
    return None


def _names(written: str | None, name: str) -> bool:
    return written is None or re.split(r"[/\\]", written)[-1] == name


# A prompt file may name thousands of input images.
@lru_cache(maxsize=1024)
def _hash_file(state: FileState) -> str:
    if known := hash_cache.find(state):
        return known
    return hash_again(state.path)
