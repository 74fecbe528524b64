"""Write several images to stdout as a tar stream."""

from __future__ import annotations

import io
import sys
import tarfile
from collections import Counter
from pathlib import PurePath
from typing import IO, cast

from sdcli.storage import files


class TarStream:
    """A tar stream on stdout, which is reproducible: the same images give the same bytes."""

    def __init__(self) -> None:
        self._tar: tarfile.TarFile | None = None
        self._names: Counter[str] = Counter()

    def add(self, name: str, data: bytes) -> None:
        """Write one member, and flush it; a name that is taken gets a number.

        Raises OutputError, and BrokenPipeError when the reader has closed the pipe.
        """
        with files.os_errors_as_output_errors("stdout"):
            member = tarfile.TarInfo(self._free_name(name))
            member.size = len(data)
            self._open().addfile(member, io.BytesIO(data))
            sys.stdout.buffer.flush()

    def close(self) -> None:
        """Write the end of the archive, which is valid even without members."""
        with files.os_errors_as_output_errors("stdout"):
            self._open().close()
            sys.stdout.buffer.flush()

    def _free_name(self, name: str) -> str:
        self._names[name] += 1
        if self._names[name] == 1:
            return name
        path = PurePath(name)
        return self._free_name(f"{path.stem}-{self._names[name]}{path.suffix}")

    def _open(self) -> tarfile.TarFile:
        if self._tar is None:
            # The stream mode "w|" would hold back the end of a member until the next one.
            self._tar = tarfile.TarFile(
                fileobj=cast(IO[bytes], _Stdout()), mode="w", format=tarfile.PAX_FORMAT
            )
        return self._tar


class _Stdout:
    """Stdout with the position that tarfile asks for, which a pipe doesn't have."""

    def tell(self) -> int:
        return 0

    def write(self, data: bytes) -> int:
        return sys.stdout.buffer.write(data)
