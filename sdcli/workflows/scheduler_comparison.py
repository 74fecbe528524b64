"""Results of comparing schedulers: distances of images to those of a converged run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

from sdcli.errors import SdcliError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONVERGED_DB: Final = 30.0
"""PSNR in dB from which a run counts as converged, as differences are then hard to see."""


@dataclass(frozen=True, kw_only=True)
class ImageDistance:
    """One image of a run, compared with the reference's image of the same prompt and seed.

    `seconds` is the time of the denoising alone. `latent_rmse` is of the final latents; `psnr` is
    in dB, and None for identical images. `prompt_match` is None unless it was measured. An image
    that failed has an `error` and nothing else.
    """

    prompt: str
    seed: int
    seconds: float | None = None
    latent_rmse: float | None = None
    psnr: float | None = None
    prompt_match: float | None = None
    error: SdcliError | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SchedulerRun:
    """The images of one scheduler with one number of steps. `pixels` are those of the first."""

    scheduler: str
    stochastic: bool
    steps: int
    unet_calls: int | None = None
    images: tuple[ImageDistance, ...] = ()
    pixels: NDArray[np.uint8] | None = None

    @property
    def error(self) -> SdcliError | None:
        """The first error, None if all images were made."""
        return next((image.error for image in self.images if image.error), None)

    @property
    def seconds(self) -> float | None:
        """Mean seconds of an image."""
        return _mean(image.seconds for image in self.images)

    @property
    def latent_rmse(self) -> float | None:
        """Mean latent RMSE."""
        return _mean(image.latent_rmse for image in self.images)

    @property
    def latent_rmse_spread(self) -> float | None:
        """Standard deviation of the latent RMSE, None of less than two images."""
        return _spread(image.latent_rmse for image in self.images)

    @property
    def psnr(self) -> float | None:
        """Mean PSNR in dB of the images that differ from the reference; None if none does."""
        return _mean(image.psnr for image in self.images)

    @property
    def psnr_spread(self) -> float | None:
        """Standard deviation of the PSNR, None of less than two images that differ."""
        return _spread(image.psnr for image in self.images)

    @property
    def prompt_match(self) -> float | None:
        """Mean share of what the prompts name, None if it was not measured."""
        return _mean(image.prompt_match for image in self.images)

    def reaches(self, target: float) -> bool:
        """Whether the mean PSNR is at least `target` in dB, or all images are identical."""
        return self.error is None and (self.psnr is None or self.psnr >= target)


@dataclass(frozen=True, kw_only=True)
class SchedulerComparison:
    """All runs, in the order of the schedulers, and for each of them of the steps.

    `fewest` has for each scheduler the run of the fewest steps that reaches the target, or None;
    it is empty unless that was searched for.
    """

    reference: SchedulerRun
    runs: tuple[SchedulerRun, ...]
    target: float = CONVERGED_DB
    fewest: tuple[tuple[str, SchedulerRun | None], ...] = ()

    @property
    def prompt(self) -> str:
        """The prompt of the first image, which the sheet shows."""
        return self.reference.images[0].prompt

    @property
    def seed(self) -> int:
        """The seed of the first image, which the sheet shows."""
        return self.reference.images[0].seed

    @property
    def fastest(self) -> SchedulerRun | None:
        """The run with the fewest UNet calls that reaches the target, and of several the nearest.

        None if no run does.
        """
        candidates = [*self.runs, *(run for _, run in self.fewest if run)]
        reaching = [run for run in candidates if run.reaches(self.target)]
        return min(reaching, key=lambda run: (run.unet_calls, run.latent_rmse or 0.0), default=None)

    @property
    def nearest(self) -> SchedulerRun | None:
        """The run with the smallest distance in its latents, None if all failed."""
        runs = [run for run in self.runs if not run.error]
        return min(runs, key=lambda run: run.latent_rmse or 0.0, default=None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _spread(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stdev(known) if len(known) > 1 else None
