"""Tell Stable Diffusion XL of the sizes that its training images had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from sdcli.fields.xl import parse_pair
from sdcli.job import Job

NEGATIVE_AESTHETIC_SCORE: Final = 2.5
"""Score that guidance leads away from: the default of Diffusers."""

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SizeConditioning:
    """Sizes as (height, width) and a corner as (top, left), which is the order of the pipeline.

    With an `aesthetic_score`, which some refiners take, there is no target size.
    """

    original_size: Pair
    crop: Pair
    target_size: Pair
    aesthetic_score: float | None = None

    @classmethod
    def of(cls, job: Job, *, takes_aesthetic_score: bool = False) -> SizeConditioning:
        """Return that of a job; sizes that it leaves out are the image's own."""
        return cls(
            original_size=_swapped(job.original_size) or (job.height, job.width),
            crop=_swapped(job.crop) or (0, 0),
            target_size=_swapped(job.target_size) or (job.height, job.width),
            aesthetic_score=job.aesthetic_score if takes_aesthetic_score else None,
        )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the pipeline."""
        sizes: dict[str, Any] = {
            "original_size": self.original_size,
            "crops_coords_top_left": self.crop,
            "target_size": self.target_size,
        }
        if self.aesthetic_score is None:
            return sizes
        return sizes | {
            "aesthetic_score": self.aesthetic_score,
            "negative_aesthetic_score": NEGATIVE_AESTHETIC_SCORE,
        }

    def time_ids(self, batch: int, *, guided: bool) -> list[Sequence[float]]:
        """Return the rows that the pipeline makes of the arguments, one for each UNet input.

        With `guided`, those of the negative prompts come first.
        """
        # Beside a score, Diffusers' pipelines leave the corner out of the negative row.
        crop = self.crop if self.aesthetic_score is None else (0, 0)
        negative = self._row(crop, NEGATIVE_AESTHETIC_SCORE)
        positive = self._row(self.crop, self.aesthetic_score)
        return [negative] * batch * guided + [positive] * batch

    def _row(self, crop: Pair, score: float | None) -> Sequence[float]:
        if self.aesthetic_score is None or score is None:
            return (*self.original_size, *crop, *self.target_size)
        return (*self.original_size, *crop, score)


def _swapped(text: str | None) -> Pair | None:
    if text is None:
        return None
    first, second = parse_pair(text)
    return second, first


def to_tensor(rows: Sequence[Sequence[float]], like: torch.Tensor) -> torch.Tensor:
    """Return rows of time ids (batch, 5 or 6) in the dtype and on the device of `like`."""
    return torch.tensor(rows, dtype=like.dtype).to(like.device)
