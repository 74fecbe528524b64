"""Describe the components of a model folder from its configuration and file headers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdcli.checkpoints.json_files import read_json, shorten
from sdcli.checkpoints.safetensors_header import read_header
from sdcli.checkpoints.weight_files import WEIGHT_SUFFIXES
from sdcli.errors import CorruptError, ModelError

_NAME: Final = re.compile(r"\w[\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Component:
    """A component of a pipeline and its weight files.

    `bytes` counts all weight files. `parameters` and `dtypes` cover the safetensors files only,
    because no component is loaded from a pickle.
    """

    name: str
    class_name: str
    files: tuple[str, ...] = ()
    bytes: int = 0
    parameters: int = 0
    dtypes: tuple[str, ...] = ()

    @property
    def has_pickle(self) -> bool:
        """Whether a weight file is in a format that can contain code."""
        return any(not name.endswith(".safetensors") for name in self.files)


def read_components(folder: Path) -> list[Component]:
    """Read the components that model_index.json names.

    Raises ModelError for a missing index and CorruptError for broken files.
    """
    index = read_json(folder / "model_index.json")
    # A component is [library, class]; [null, null] stands for one that the pipeline does without.
    entries = {
        name: str(value[1])
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1]
    }
    for name in entries:
        # A path would lead out of the model's folder.
        if not _NAME.fullmatch(name):
            raise CorruptError(
                f"{folder / 'model_index.json'}: {shorten(name)} is not the name of a component",
                code="model.corrupt",
            )
    return [_read_component(folder / name, class_name) for name, class_name in entries.items()]


def _read_component(folder: Path, class_name: str) -> Component:
    files = sorted(path for path in folder.glob("*") if path.suffix in WEIGHT_SUFFIXES)
    for path in files:
        if not path.exists():
            raise ModelError(f"{path}: a link to a missing file", code="model.incomplete")
    headers = [read_header(path) for path in files if path.suffix == ".safetensors"]
    tensors = [tensor for header in headers for tensor in header.tensors.values()]
    return Component(
        name=folder.name,
        class_name=class_name,
        files=tuple(path.name for path in files),
        bytes=sum(path.stat().st_size for path in files),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors})),
    )
