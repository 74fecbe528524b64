"""What lies in a model folder, read from file headers alone: parts, sizes, dtypes, pickles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdcli.checkpoints.model_defaults import read_json
from sdcli.checkpoints.safetensors_header import read_header

_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".ckpt")


@dataclass(frozen=True, kw_only=True)
class Component:
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


def read_components(folder: Path) -> list[Component]:
    """The parts that model_index.json names. Raises ModelError or CorruptError."""
    index = read_json(folder / "model_index.json")
    named = ((n, v) for n, v in index.items() if isinstance(v, list) and len(v) == 2 and v[1])
    return [_read_component(folder / name, str(value[1])) for name, value in named]


def _read_component(folder: Path, class_name: str) -> Component:
    files = sorted(p for p in folder.glob("*") if p.suffix in _WEIGHTS)
    headers = [read_header(path) for path in files if path.suffix == ".safetensors"]
    tensors = [tensor for header in headers for tensor in header.tensors.values()]
    return Component(
        name=folder.name,
        class_name=class_name,
        files=tuple(p.name for p in files),
        bytes=sum(p.stat().st_size for p in files),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors})),
    )
