"""Read images from the tar archives of a folder."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path

from sdcli.errors import CorruptError
from sdcli.storage.jobs.journal_index import PackedImage


class ArchiveReader:
    """The archives of a folder; each is read once, unless it changes. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hashes: dict[str, tuple[tuple[int, int], str]] = {}
        self._members: dict[str, Mapping[str, tarfile.TarInfo]] = {}

    def has(self, packed: PackedImage) -> bool:
        """Whether the archive is there, unaltered."""
        path = self._folder / packed.archive
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            known, digest = self._hashes.get(packed.archive, ((0, 0), ""))
            if known != stamp:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                self._hashes[packed.archive] = (stamp, digest)
                self._members.pop(packed.archive, None)
        except OSError:
            return False
        return digest == packed.sha256

    def read(self, packed: PackedImage, suffix: str) -> bytes:
        """The bytes of the member with that suffix. Raises OSError and CorruptError."""
        path, name = self._folder / packed.archive, f"{packed.key}{suffix}"
        try:
            with tarfile.open(path) as tar:
                # A list of the members takes as long as reading the whole archive.
                if packed.archive not in self._members:
                    self._members[packed.archive] = {member.name: member for member in tar}
                file = tar.extractfile(self._members[packed.archive][name])
                return file.read() if file else b""
        except (tarfile.TarError, KeyError) as error:
            raise CorruptError(
                f"{path}: {name} cannot be read", code="archive.corrupt", hint="copy it again"
            ) from error
