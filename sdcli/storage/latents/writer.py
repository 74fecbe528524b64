"""Latents on disk: a safetensors file an image, whole after every step of its run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sdcli.errors import OutputError, SdcliError
from sdcli.latents import FINAL, LatentsSelection, RunInfo
from sdcli.result import SavedImage
from sdcli.storage import files
from sdcli.storage.metadata import record
from sdcli.storage.text import slug

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".latents.safetensors"
SCHEMA = "sdcli/latents/1"

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


class LatentsWriter:
    """The files of a run's images, as the engine's LatentsSink. What is left when it ends goes.

    `wanted` None keeps the last latents only until their image is whole on disk: a decode that
    fails loses no denoising.
    """

    def __init__(
        self, folder: Path, wanted: LatentsSelection | None, versions: Mapping[str, str]
    ) -> None:
        self.wanted = wanted or LatentsSelection()
        self._asked = wanted is not None
        self._folder = folder
        self._versions = versions
        self._courses: dict[int, RunInfo] = {}
        self._growing: dict[int, SafetensorsAppender] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A bug must not cost what was drawn; a reader who went away wants no more of it.
        if kind is not None and not issubclass(kind, BrokenPipeError):
            with suppress(SdcliError):
                self.rescue_all()
        for growing in self._growing.values():
            growing.discard()

    def begin(self, course: RunInfo) -> None:
        """Open the image's file. Raises OutputError."""
        index = course.job.index
        if index in self._growing:
            self._growing.pop(index).discard()
        expected = len(self.wanted.tensors(len(course.timesteps)))
        metadata = _metadata(record.partial_record(course, self._versions), course)
        self._courses[index] = course
        self._growing[index] = SafetensorsAppender(self._folder, metadata, tensors=expected)

    def take(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Append the tensor to the image's file. Raises OutputError."""
        self._growing[index].append(name, array)

    def finish(self, written: SavedImage, *, force: bool = False) -> str | None:
        """The path of the latents, now beside their image; None when nobody asked for them.

        Where another file has that name, they take a numbered one: they are not lost for it.
        """
        course, growing = self._pop(written.result.job.index)
        if not self._asked:
            growing.discard()
            return None
        growing.metadata |= _metadata(record.make_record(written.result, self._versions), course)
        growing.metadata["image"] = Path(written.path).name
        path = files.sibling_path(written.path, SUFFIX)
        try:
            if path.exists() and not force:
                return growing.publish_numbered(f"-{path.name}")
            return growing.publish(path, force=force)
        finally:
            growing.discard()

    def rescue(self, index: int) -> str | None:
        """Keep what there is of an image that will not be: the last latents, or steps asked for.

        The path, None when there is nothing worth it.
        """
        if index not in self._growing:
            return None
        course, growing = self._pop(index)
        if FINAL not in growing.names and not (self._asked and growing.names):
            growing.discard()
            return None
        after = f"-{slug(course.job.prompt)}-{course.job.seed}{SUFFIX}"
        try:
            return growing.publish_numbered(after)
        finally:
            growing.discard()

    def rescue_all(self) -> list[str]:
        """Keep what there is of all images that are not finished."""
        paths = [self.rescue(index) for index in list(self._growing)]
        return [path for path in paths if path]

    def _pop(self, index: int) -> tuple[RunInfo, SafetensorsAppender]:
        return self._courses.pop(index), self._growing.pop(index)


def _metadata(facts: Mapping[str, Any], course: RunInfo) -> dict[str, str]:
    """Strings, as the format wants: the record of the image, and what reading the tensors needs."""
    return {
        "schema": SCHEMA,
        "record": json.dumps(facts),
        "steps": str(len(course.timesteps)),
        "init_noise_sigma": repr(course.init_noise_sigma),
    }
