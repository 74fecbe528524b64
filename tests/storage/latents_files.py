"""Build files of latents to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save

from sdcli.latents import LatentsSelection
from sdcli.result import SavedImage
from sdcli.storage.latents.writer import LatentsWriter
from tests.jobs import make_result, make_run

VERSIONS = {"sdcli": "0"}
ALL = LatentsSelection.parse("all")
SHAPE = (4, 8, 8)


def fill(writer: LatentsWriter, names: list[str], index: int = 0) -> dict[str, Any]:
    """Write one tensor per name, each with another constant, and return them."""
    arrays = {name: np.full(SHAPE, i, np.float32) for i, name in enumerate(names, 1)}
    for name, array in arrays.items():
        writer.write(index, name, array)
    return arrays


def write_complete_file(folder: Path, **changes: Any) -> Path:
    """Write all latents of a run of four steps, to `a.latents.safetensors`."""
    with LatentsWriter(folder, ALL, VERSIONS) as writer:
        writer.begin_image(make_run(init_noise_sigma=2.0))
        fill(writer, ALL.tensor_names(4))
        saved = SavedImage(path=str(folder / "a.png"), result=make_result(**changes))
        return Path(writer.finish(saved) or "")


def rewrite(path: Path, tensors: dict[str, Any] | None = None, **metadata: str | None) -> None:
    """Replace tensors and metadata of a file; None removes an entry."""
    with safe_open(path, framework="numpy") as file:
        entries = {**file.metadata(), **metadata}
    kept = {key: value for key, value in entries.items() if value is not None}
    path.write_bytes(save(load_file(path) if tensors is None else tensors, metadata=kept))
