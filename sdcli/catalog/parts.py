"""What lies in a model folder, read from file headers alone: parts, sizes, dtypes, pickles."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.catalog.models import read_json
from sdcli.errors import CorruptError

_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".ckpt")
_LFS_POINTER: Final = b"version https://git-lfs"
_LARGEST_HEADER: Final = 100_000_000  # the safetensors format's own limit


@dataclass(frozen=True, kw_only=True)
class Part:
    """One component of a pipeline. `parameters` and `dtypes` are of its safetensors files."""

    name: str
    class_name: str
    files: tuple[str, ...] = ()
    bytes: int = 0
    parameters: int = 0
    dtypes: tuple[str, ...] = ()

    @property
    def has_pickle(self) -> bool:
        """Whether a weight file could carry code."""
        return any(not name.endswith(".safetensors") for name in self.files)


def read_parts(folder: Path) -> list[Part]:
    """The parts that model_index.json names. Raises ModelError or CorruptError."""
    index = read_json(folder / "model_index.json")
    named = ((n, v) for n, v in index.items() if isinstance(v, list) and len(v) == 2 and v[1])
    return [_part(folder / name, str(value[1])) for name, value in named]


def _part(folder: Path, class_name: str) -> Part:
    files = sorted(p for p in folder.glob("*") if p.suffix in _WEIGHTS)
    tensors = [t for p in files if p.suffix == ".safetensors" for t in read_header(p).values()]
    return Part(
        name=folder.name,
        class_name=class_name,
        files=tuple(p.name for p in files),
        bytes=sum(p.stat().st_size for p in files),
        parameters=sum(math.prod(tensor["shape"]) for tensor in tensors),
        dtypes=tuple(sorted({tensor["dtype"] for tensor in tensors})),
    )


def read_header(path: Path) -> dict[str, Any]:
    """A safetensors header: eight bytes of length, then JSON of name → dtype, shape, offsets.

    Raises CorruptError for anything else, and when the file is not as long as its header says.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if start == _LFS_POINTER[:8]:
            raise CorruptError(
                f"{path} is a Git LFS pointer, not the weights",
                code="model.corrupt",
                hint="run `git lfs pull` in its repository",
            )
        length = int.from_bytes(start, "little")
        if not 2 <= length <= _LARGEST_HEADER:
            raise CorruptError(f"{path}: not a safetensors file", code="model.corrupt")
        raw = file.read(length)
    try:
        header: dict[str, Any] = json.loads(raw)
        header.pop("__metadata__", None)
        end = max(tensor["data_offsets"][1] for tensor in header.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptError(f"{path}: broken safetensors header", code="model.corrupt") from error
    if path.stat().st_size != 8 + length + end:
        raise CorruptError(
            f"{path}: {path.stat().st_size} bytes, its header promises {8 + length + end}",
            code="model.corrupt",
            hint="fetch the file again",
        )
    return header
