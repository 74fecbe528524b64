"""List the models of a loaded pipeline with the files of their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdcli.checkpoints.recorded import REFINER_PREFIX
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.loading.refiner import LoadedRefiner

ModelsAndFiles = list[tuple[Mapping[str, Any], Mapping[str, WeightFiles]]]


def models_and_files(
    pipeline: Any, files: Mapping[str, WeightFiles], refiner: LoadedRefiner | None
) -> ModelsAndFiles:
    """Return the models of a pipeline by name with their files, then those of its refiner."""
    found: ModelsAndFiles = [({name: getattr(pipeline, name) for name in files}, files)]
    if refiner:
        own = {
            name: getattr(refiner.pipeline, name.removeprefix(REFINER_PREFIX))
            for name in refiner.files
        }
        found.append((own, refiner.files))
    return found
