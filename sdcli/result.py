"""What happened: results as the engine hands them over and as the output wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdcli.errors import SdcliError
from sdcli.job import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """One scheduler step of a batch. `step` counts from 1, `timestep` is the trained time."""

    job_indices: tuple[int, ...]
    step: int
    steps: int
    timestep: float


@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationResult:
    """One image and how it came about.

    `pixels` is (height, width, 3) uint8. `latents` maps "final" or "step_0003" to arrays of
    (4, height/8, width/8). `weights` maps a component to the SHA-256 of its file, `seconds` a phase
    to its time: import and load once for the pipeline, encode, denoise and decode for the whole
    batch. `events` tells the rungs taken.
    """

    job: Job
    pixels: NDArray[np.uint8]
    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...] | None
    scheduler_class: str
    scheduler_config: Mapping[str, object]
    batch_size: int
    dtype: str
    device: str
    weights: Mapping[str, str] = field(default_factory=dict)
    latents: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    events: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedImage:
    """A result whose file is whole on disk at `path` ("-" is stdout); saving it took `seconds`."""

    path: str
    result: GenerationResult
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Jobs that came to nothing, and why."""

    jobs: tuple[Job, ...]
    error: SdcliError
