"""Keep loaded pipelines between runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sdcli.planning.batching import same_base_model
from sdcli.request import PipelineSpec
from sdcli.runner.options import RunOptions as RunOptions

if TYPE_CHECKING:
    from sdcli.engine import LoadedPipeline


_loaded: dict[PipelineSpec, LoadedPipeline] = {}


def _pipeline(spec: PipelineSpec, warn: Callable[[str], None]) -> LoadedPipeline:
    """The loaded pipeline; one at a time, since two may not fit into memory."""
    from sdcli import engine

    if spec not in _loaded:
        before = [loaded for known, loaded in _loaded.items() if same_base_model(known, spec)]
        _loaded.clear()
        _loaded[spec] = engine.load(spec, like=before[0] if before else None)
        for note in _loaded[spec].notes:
            warn(note)
    return _loaded[spec]
