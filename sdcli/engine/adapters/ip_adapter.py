"""Show images to the UNet by IP-Adapters for one run, and leave it as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine.loading.ip_adapter import Embeds
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.runtime.diffusers_internals import with_ip_adapters
from sdcli.fields.ip_adapter import parse_ip_images
from sdcli.job import Job


@contextmanager
def applied_ip_adapters(
    loaded: LoadedPipeline, jobs: Sequence[Job], images: Sequence[NDArray[np.uint8]]
) -> Iterator[None]:
    """Give the UNet the attention processors of the jobs' IP-Adapters and their images.

    On leaving it has the very processors that it had. An image with a scale of 0 is left out, so
    that it changes nothing at all. The refiner is not changed.
    """
    job = jobs[0]
    uses = parse_ip_images(job.ip_image) if job.ip_adapter else ()
    wanted = [bool(use.scale) for use in uses]
    if not any(wanted):
        yield
        return
    named = zip(job.ip_image_hashes, images, strict=True)
    shown = [image for image, want in zip(named, wanted, strict=True) if want]
    unet = loaded.pipeline.unet
    built = loaded.ip_adapters.build(job, wanted, unet)
    embeds = loaded.ip_adapters.encode(job, shown, built)
    scales = [use.scale for use in uses if use.scale]
    with (
        with_ip_adapters(unet, built.processors, built.projection, scales),
        patch_method(unet, "forward", _forward_with(embeds, len(jobs), 2 if job.pag_scale else 1)),
    ):
        yield


def _forward_with(embeds: Sequence[Embeds], images: int, prompted: int) -> Callable[..., Any]:
    """Return a wrapper of the UNet's call that adds the embeddings, as the pipelines do.

    `prompted` is the number of rows with the prompt for each image: PAG has a second one.

    The pipelines repeat them once, before their loop: with guidance that begins or ends within the
    run, those of half of the calls would be too many or too few.
    """

    def forward(original: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        is_guided = len(sample) == (prompted + 1) * images
        rows = [
            torch.cat([empty[None]] * images * is_guided + [shown[None]] * images * prompted)
            for shown, empty in embeds
        ]
        added = {**(kwargs.pop("added_cond_kwargs", None) or {}), "image_embeds": rows}
        return original(sample, *args, added_cond_kwargs=added, **kwargs)

    return forward
