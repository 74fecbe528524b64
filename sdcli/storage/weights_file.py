"""Write files of weights in the safetensors format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.errors import OutputError
from sdcli.storage import files

LENGTH_BYTES: Final = 8
"""Size of the number that a file begins with: the length of its header."""


@dataclass(frozen=True, kw_only=True)
class NewTensor:
    """A tensor to write: `chunks` yields the `byte_count` bytes of its elements."""

    dtype: str
    shape: tuple[int, ...]
    byte_count: int
    chunks: Callable[[], Iterator[bytes]]


def check_target(path: Path, size: int, *, force: bool) -> None:
    """Raise OutputError if the file exists, or its disk has no room for `size` bytes."""
    if path.exists() and not force:
        raise OutputError(
            f"{path} exists", code="output.exists", hint="choose another name, or add --force"
        )
    with files.os_errors_as_output_errors(path):
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        free = shutil.disk_usage(folder).free
    if size > free:
        raise OutputError(
            f"{path} needs {size / 1e9:.2f} GB, but the disk has {free / 1e9:.2f} GB left",
            code="output.full",
            hint="free some space, or choose a file on another disk",
        )


def write_weights(
    path: Path, tensors: Mapping[str, NewTensor], metadata: Mapping[str, str], *, force: bool
) -> None:
    """Write the tensors atomically, holding one chunk in memory. Raises OutputError.

    A folder that does not exist is made.
    """
    check_target(path, sum(tensor.byte_count for tensor in tensors.values()), force=force)
    with files.os_errors_as_output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = files.temporary_name(path.parent)
    try:
        with files.os_errors_as_output_errors(path), temporary.open("xb") as file:
            file.write(_header(tensors, metadata))
            for tensor in tensors.values():
                for chunk in tensor.chunks():
                    file.write(chunk)
            files.fsync(file)
        files.publish(temporary, path, force=force)
    finally:
        temporary.unlink(missing_ok=True)


def _header(tensors: Mapping[str, NewTensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.byte_count
        entries[name] = {
            "dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]
        }  # fmt: skip
    text = json.dumps(entries).encode()
    return pack_header(text, aligned(len(text)))


def pack_header(text: bytes, size: int) -> bytes:
    """Return the bytes that a file begins with: the size of its header, and the header."""
    return size.to_bytes(LENGTH_BYTES, "little") + text.ljust(size)


def aligned(size: int) -> int:
    """Round up to a multiple of 8, so that memory-mapped tensors are aligned."""
    return size + -size % 8
