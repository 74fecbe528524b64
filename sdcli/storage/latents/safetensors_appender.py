"""Write a safetensors file tensor by tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.errors import OutputError
from sdcli.storage import files

if TYPE_CHECKING:
    from numpy.typing import NDArray


_DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64"}


_ROOM = 4096
"""Bytes kept free in a header for what only the finished image tells: hashes, events, its name."""


class SafetensorsAppender:
    """One file of latents under a hidden name: a valid safetensors file after every tensor.

    The format puts a header with every offset first, and lets it end in spaces: so the header gets
    room for all that may come, tensors are appended, and the header is written over.
    """

    def __init__(self, folder: Path, metadata: Mapping[str, str], *, tensors: int) -> None:
        self.path = files.temporary_name(folder)
        self.metadata = dict(metadata)
        self.names: list[str] = []
        self._entries: dict[str, Any] = {}
        self._end = 0
        room = len(json.dumps(self.metadata)) + _ROOM + 128 * tensors
        self._header = room + -room % 8
        with files.os_errors_as_output_errors(self.path):
            self._file = self.path.open("x+b", buffering=0)
        self._write_header()

    def append(self, name: str, array: NDArray[Any]) -> None:
        """Add a tensor. Raises OutputError."""
        data = array.tobytes()
        try:
            self._write(8 + self._header + self._end, data)
        except OutputError:
            self._cut()
            raise
        # Only now: on a full disk the header must not tell of what did not fit.
        self._entries[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [self._end, self._end + len(data)],
        }
        self._end += len(data)
        self.names.append(name)
        self._write_header()

    def _cut(self) -> None:
        """Take away what did not fit: readers want no bytes that no tensor has."""
        with suppress(OSError):
            os.ftruncate(self._file.fileno(), 8 + self._header + self._end)

    def publish(self, path: Path, *, force: bool) -> str:
        """Take the visible name. Raises OutputError."""
        self._settle()
        files.publish(self.path, path, force=force)
        return str(path)

    def publish_numbered(self, after: str) -> str:
        """Take the next number of the folder as its name. Raises OutputError."""
        self._settle()
        return str(files.publish_numbered(self.path, "", after))

    def discard(self) -> None:
        """Leave nothing behind, published or not."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _settle(self) -> None:
        self._write_header()
        with files.os_errors_as_output_errors(self.path):
            files.fsync(self._file)
            self._file.close()

    def _write_header(self) -> None:
        text = json.dumps({"__metadata__": self.metadata, **self._entries}).encode()
        if len(text) > self._header:
            self._widen(len(text))
        self._write(0, self._header.to_bytes(8, "little") + text.ljust(self._header))

    def _widen(self, wanted: int) -> None:
        """Move the tensors up, when what came to be known is longer than was thought."""
        with files.os_errors_as_output_errors(self.path):
            data = os.pread(self._file.fileno(), self._end, 8 + self._header)
        wider = wanted + -wanted % 8
        self._write(8 + wider, data)
        self._header = wider

    def _write(self, offset: int, data: bytes) -> None:
        """Put the bytes at their place, all of them or raise OutputError."""
        left = memoryview(data)
        with files.os_errors_as_output_errors(self.path):
            while left:
                written = os.pwrite(self._file.fileno(), left, offset)
                left, offset = left[written:], offset + written
