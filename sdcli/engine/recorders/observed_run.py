"""Describe a run to the recorders that observe it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.latents import Recorder
from sdcli.result import RunInfo


@dataclass(frozen=True, kw_only=True, eq=False)
class ObservedRun:
    """A batch that is about to be denoised: its images, and the parts of their run."""

    loaded: LoadedPipeline
    runs: Sequence[RunInfo]
    parts: Sequence[RunPart]
    scheduler: Any

    @property
    def images(self) -> int:
        """The images of the batch, which are the last rows of the UNet's."""
        return len(self.runs)


RecorderFactory = Callable[[ObservedRun], Recorder]
"""Makes the recorder of a batch. It is called again when a batch is divided."""
