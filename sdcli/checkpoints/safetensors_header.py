"""Read and check the headers of safetensors files.

The header alone shows whether a file is complete, so a damaged one is found before anything is
loaded. The format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.file_start import HINTS, START_BYTES, FileStart, find_signature
from sdcli.checkpoints.json_files import check_regular_file
from sdcli.errors import CorruptError

_TO_CKPT: Final = "rename it to .ckpt and convert it: sdcli models convert"
_OTHER_KINDS: Final[Mapping[FileStart, tuple[str, str | None]]] = {
    FileStart.EMPTY: ("is empty", None),
    # A clone without Git LFS has small text files in place of the weights.
    FileStart.LFS_POINTER: ("is a Git LFS pointer, not the weights", "run `git lfs pull`"),
    FileStart.HTML: ("is an HTML or XML page, not safetensors",
                     "download the file itself; the site may ask for a login"),
    FileStart.ZIP: ("is a zip archive, as .ckpt files are, not safetensors", _TO_CKPT),
    FileStart.PICKLE: ("is a Python pickle, not safetensors", _TO_CKPT),
    FileStart.GGUF: ("is a GGUF file, not safetensors", "use a .safetensors file of the model"),
}  # fmt: skip
"""Kinds of files that are often found under the name of safetensors: the problem and a hint."""

_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 100_000_000  # the limit in the safetensors library
# Products of shapes stay small numbers, whatever a file says.
_MAX_SIZE: Final = 1 << 63
_MAX_DIMENSIONS: Final = 64
_DTYPE_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A tensor of a file. `begin` and `end` are byte offsets from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class SafetensorsHeader:
    """The tensors of a safetensors file by name, at least one, and its metadata."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def read_header(path: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file.

    Raises CorruptError unless the tensors have the sizes of their shapes, follow each other
    without a gap and end where the file ends. Raises OSError if the file cannot be read.
    """
    check_regular_file(path)
    size = path.stat().st_size
    raw = _read_header_bytes(path, size)
    data_start = _LENGTH_BYTES + len(raw)
    try:
        header = _parse_header(raw, data_start)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _corrupt_error(path, "has no readable safetensors header") from error
    end = _find_end(path, header, data_start)
    if end != size:
        raise _corrupt_error(path, f"has {size} bytes, but its header describes {end}")
    return header


def _read_header_bytes(path: Path, size: int) -> bytes:
    """Read the JSON of the header, which follows its length in eight bytes."""
    with path.open("rb") as file:
        head = file.read(START_BYTES)
        _check_format(path, head)
        file.seek(_LENGTH_BYTES)
        start = head[:_LENGTH_BYTES]
        length = int.from_bytes(start, "little")
        # A length that is out of bounds is not read, so that no file can exhaust the memory.
        if len(start) < _LENGTH_BYTES or not 2 <= length <= _MAX_HEADER_BYTES:
            raise _corrupt_error(path, f"has no safetensors header ({size} bytes)")
        if _LENGTH_BYTES + length > size:
            raise _corrupt_error(path, f"is truncated in its header ({size} bytes)")
        return file.read(length)


def _check_format(path: Path, head: bytes) -> None:
    """Raise CorruptError for a file whose first bytes are those of another format."""
    kind = find_signature(head)
    if kind not in (None, FileStart.SAFETENSORS):
        problem, hint = _OTHER_KINDS.get(kind, (f"is {kind}, not safetensors", HINTS.get(kind)))
        raise _corrupt_error(path, problem, hint=hint)


def _parse_header(raw: bytes, data_start: int) -> SafetensorsHeader:
    data: dict[str, Any] = json.loads(raw)
    metadata = data.pop("__metadata__", None) or {}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("metadata must be text")
    return SafetensorsHeader(
        tensors={name: _parse_tensor(entry, data_start) for name, entry in data.items()},
        metadata=metadata,
    )


def _parse_tensor(entry: Mapping[str, Any], data_start: int) -> TensorInfo:
    begin, end = entry["data_offsets"]
    numbers = (begin, end, *entry["shape"])
    # type(), not isinstance(): JSON's true would pass for an int.
    if any(type(number) is not int or not 0 <= number < _MAX_SIZE for number in numbers):
        raise ValueError("a shape or an offset is not a size")
    if begin > end or len(entry["shape"]) > _MAX_DIMENSIONS:
        raise ValueError("a shape or an offset is not a size")
    # The size of a dtype newer than the table cannot be checked.
    bits = _DTYPE_BITS.get(entry["dtype"])
    if bits and (end - begin) * 8 != bits * math.prod(entry["shape"]):
        raise ValueError("a shape does not match its offsets")
    return TensorInfo(
        dtype=str(entry["dtype"]),
        shape=tuple(entry["shape"]),
        begin=data_start + begin,
        end=data_start + end,
    )


def _find_end(path: Path, header: SafetensorsHeader, data_start: int) -> int:
    """Return the offset where the last tensor ends. Raises CorruptError for gaps and overlaps."""
    if not header.tensors:
        raise _corrupt_error(path, "contains no tensors")
    end = data_start
    for tensor in sorted(header.tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != end:
            raise _corrupt_error(path, "has tensors that overlap or leave a gap")
        end = tensor.end
    return end


def _corrupt_error(path: Path, problem: str, *, hint: str | None = None) -> CorruptError:
    return CorruptError(
        f"{path} {problem}", code="model.corrupt", hint=hint or "download the file again"
    )
