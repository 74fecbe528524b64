"""Define the results of jobs, as the engine returns them and as they are saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdcli.errors import SdcliError
from sdcli.job import Job
from sdcli.row import Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """One scheduler step of a batch. `step` counts from 1, `timestep` is the trained time."""

    job_indices: tuple[int, ...]
    rows: tuple[Row, ...] = ()
    step: int
    steps: int
    timestep: float


@dataclass(frozen=True, kw_only=True)
class SecondPass:
    """The size and the schedule of a second pass; `sigmas` is as in RunInfo."""

    width: int
    height: int
    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """Everything known about an image before its first step.

    `timesteps` has one value per UNet call. `sigmas` has one more than `timesteps`, and is None for
    schedulers that do not use sigmas. `scheduler_config` is the configuration that the run uses:
    the model's file, changed by the scheduler's name and options. `init_noise_sigma` is the factor
    that scales the initial noise. `batch_size` counts the images denoised together. The refiner, if
    there is one, makes the UNet calls from `refiner_call`, counted from 1. `vae_dtype` is None if
    the VAE runs in `dtype`, `vae_order` if its decoder is in the usual memory order, and `offload`
    if all networks stay on the device. `compiled` tells that the UNet ran compiled. With a
    `second_pass`, all this is about the first one.
    """

    job: Job
    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...] | None
    scheduler_class: str
    scheduler_config: Mapping[str, object]
    init_noise_sigma: float
    batch_size: int
    dtype: str
    device: str
    refiner_call: int | None = None
    vae_dtype: str | None = None
    vae_order: str | None = None
    offload: str | None = None
    compiled: bool = False
    second_pass: SecondPass | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationResult:
    """One generated image, and how it was made.

    `pixels` is (height, width, 3) uint8. `latents` maps tensor names ("final", "xt_0003") to arrays
    (4, height/8, width/8). `weights` maps a component to the SHA-256 of its file. `seconds` maps a
    phase to its duration: "import" and "load" once per pipeline, "encode", "denoise" and "decode"
    for the whole batch. `events` are sentences about what happened during the run, such as falling
    back to a tiled VAE.
    """

    run: RunInfo
    pixels: NDArray[np.uint8]
    weights: Mapping[str, str] = field(default_factory=dict)
    latents: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def job(self) -> Job:
        """The job that the image was made for."""
        return self.run.job


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedImage:
    """A result whose file is complete at `path` ("-" is stdout); saving it took `seconds`."""

    path: str
    result: GenerationResult
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DoneImage:
    """A complete image that an earlier run made for a job; `pixels_sha256` is "" if unknown."""

    job: Job
    path: str
    pixels_sha256: str
    latents: str | None = None


@dataclass(frozen=True, kw_only=True)
class SortedJobs:
    """The jobs of a run that are pending or done; `others` counts all the rest of them.

    These failed before, or are another process's share.
    """

    pending: list[Job]
    done: list[DoneImage] = field(default_factory=list)
    others: int = 0


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Jobs that failed together, and the error."""

    jobs: tuple[Job, ...]
    error: SdcliError
