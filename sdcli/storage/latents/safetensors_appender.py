"""Write a safetensors file tensor by tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import OutputError
from sdcli.storage import files
from sdcli.storage.weights_file import LENGTH_BYTES, aligned, pack_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES: Final = {"float16": "F16", "float32": "F32", "float64": "F64"}
_METADATA_BYTES: Final = 4096
"""Space for metadata that is only known at the end: hashes, events, the name of the image."""
_ENTRY_BYTES: Final = 128
"""Space for the header entry of one tensor."""


class SafetensorsAppender:
    """A safetensors file that is valid after every tensor, under a hidden name until published.

    `metadata` may be changed until then, and `names` lists the tensors so far. The header of the
    format comes first and holds every offset, but may end in spaces. So the constructor reserves
    space for about `tensors` entries, and every tensor rewrites the header in place.
    """

    def __init__(self, folder: Path, metadata: Mapping[str, str], *, tensors: int) -> None:
        self.path = files.temporary_name(folder)
        self.metadata = dict(metadata)
        self.names: list[str] = []
        self._entries: dict[str, Any] = {}
        self._data_bytes = 0
        size = len(json.dumps(self.metadata)) + _METADATA_BYTES + _ENTRY_BYTES * tensors
        self._header_bytes = aligned(size)
        with files.os_errors_as_output_errors(self.path):
            self._file = self.path.open("x+b", buffering=0)
        try:
            self._write_header()
        except OutputError:
            self.discard()
            raise

    def append(self, name: str, array: NDArray[Any]) -> None:
        """Add a tensor. Raises OutputError, and leaves the file valid without it."""
        data = array.tobytes()
        start, end = self._data_bytes, self._data_bytes + len(data)
        try:
            self._write(self._data_offset + start, data)
        except OutputError:
            self._truncate()
            raise
        # Add the entry last: on a full disk the header must not promise what did not fit.
        self._entries[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        self._data_bytes = end
        self.names.append(name)
        self._write_header()

    def publish(self, path: Path, *, force: bool) -> str:
        """Give the file its visible name. Raises OutputError."""
        self._close()
        files.publish(self.path, path, force=force)
        return str(path)

    def publish_numbered(self, after: str) -> str:
        """Name the file by the next free number of its folder, then `after`. Raises OutputError."""
        self._close()
        return str(files.publish_numbered(self.path, "", after))

    def discard(self) -> None:
        """Close the file and delete its hidden name, published or not."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def _data_offset(self) -> int:
        return LENGTH_BYTES + self._header_bytes

    def _truncate(self) -> None:
        """Remove a partly written tensor: readers reject bytes that belong to none."""
        with suppress(OSError):
            os.ftruncate(self._file.fileno(), self._data_offset + self._data_bytes)

    def _close(self) -> None:
        self._write_header()
        with files.os_errors_as_output_errors(self.path):
            files.fsync(self._file)
            self._file.close()

    def _write_header(self) -> None:
        text = json.dumps({"__metadata__": self.metadata, **self._entries}).encode()
        if len(text) > self._header_bytes:
            self._grow_header(len(text))
        self._write(0, pack_header(text, self._header_bytes))

    def _grow_header(self, size: int) -> None:
        """Move the tensors towards the end of the file, to make room for a longer header."""
        with files.os_errors_as_output_errors(self.path):
            data = os.pread(self._file.fileno(), self._data_bytes, self._data_offset)
        header_bytes = aligned(size)
        self._write(LENGTH_BYTES + header_bytes, data)
        self._header_bytes = header_bytes

    def _write(self, offset: int, data: bytes) -> None:
        """Write all bytes at an offset. Raises OutputError."""
        remaining = memoryview(data)
        with files.os_errors_as_output_errors(self.path):
            # One call may write less than it is given, for example at the limit of a quota.
            while remaining:
                count = os.pwrite(self._file.fileno(), remaining, offset)
                remaining, offset = remaining[count:], offset + count
