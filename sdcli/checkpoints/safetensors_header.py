"""Safetensors headers, proven whole before anything is read by them. No torch, no numpy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.errors import CorruptError

_LFS_POINTER: Final = b"version https://git-lfs"
_LARGEST_HEADER: Final = 100_000_000  # the format's own limit
_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor of a file: `begin` and `end` are bytes from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class SafetensorsHeader:
    """What a safetensors file says it holds. There is at least one tensor."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def read_header(path: Path) -> SafetensorsHeader:
    """The header of a safetensors file: eight bytes of length, then JSON, then the tensors.

    Raises CorruptError (7) unless the tensors have the sizes of their shapes, follow each other
    without a gap and end where the file ends; OSError when there is no file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start and _LFS_POINTER.startswith(start):
            raise _corrupt(path, "is a Git LFS pointer, not the tensors", hint="run `git lfs pull`")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= _LARGEST_HEADER:
            raise _corrupt(path, f"has no safetensors header ({size} bytes)")
        if 8 + length > size:
            raise _corrupt(path, f"is cut off in its header ({size} bytes)")
        raw = file.read(length)
    try:
        header = _parse(raw, 8 + length)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _corrupt(path, "has no readable safetensors header") from error
    end = _end(path, header, 8 + length)
    if end != size:
        raise _corrupt(path, f"has {size} bytes where its header tells of {end}")
    return header


def _parse(raw: bytes, start: int) -> SafetensorsHeader:
    data: dict[str, Any] = json.loads(raw)
    metadata = data.pop("__metadata__", None) or {}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("metadata is text")
    return SafetensorsHeader(
        tensors={name: _tensor(told, start) for name, told in data.items()}, metadata=metadata
    )


def _tensor(told: Mapping[str, Any], start: int) -> TensorInfo:
    begin, end = told["data_offsets"]
    numbers = (begin, end, *told["shape"])
    if any(type(number) is not int or number < 0 for number in numbers) or begin > end:
        raise ValueError("a shape or an offset is no size")
    bits = _BITS.get(told["dtype"])  # of a dtype newer than this table the length is believed
    if bits and (end - begin) * 8 != bits * math.prod(told["shape"]):
        raise ValueError("a shape and its offsets disagree")
    return TensorInfo(
        dtype=str(told["dtype"]), shape=tuple(told["shape"]), begin=start + begin, end=start + end
    )


def _end(path: Path, header: SafetensorsHeader, start: int) -> int:
    """Where the last tensor ends, all following each other."""
    if not header.tensors:
        raise _corrupt(path, "holds no tensors")
    for tensor in sorted(header.tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != start:
            raise _corrupt(path, "has tensors that overlap or leave a gap")
        start = tensor.end
    return start


def _corrupt(path: Path, what: str, *, hint: str | None = None) -> CorruptError:
    return CorruptError(f"{path} {what}", code="model.corrupt", hint=hint or "fetch the file again")
