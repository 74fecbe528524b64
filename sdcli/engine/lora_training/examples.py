"""Encode images and captions once, before the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdcli.engine.denoise.size_conditioning import SizeConditioning
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.runtime.model_errors import model_errors_as_corrupt_errors
from sdcli.engine.vae.encode import encode_image
from sdcli.job import Job
from sdcli.lora_training import TrainingImage


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Encoded images and captions, in memory of the CPU.

    Attributes:
        latents: (images, 4, height/8, width/8) in float32.
        embeds: (images, 77, width) of the captions.
        pooled: (images, width), None for models other than Stable Diffusion XL.
        time_ids: (images, 6), likewise.
    """

    latents: Tensor
    embeds: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None

    def __len__(self) -> int:
        return len(self.latents)


def encode_examples(
    loaded: LoadedPipeline,
    images: Sequence[TrainingImage],
    jobs: Sequence[Job],
    warn: Callable[[str], None],
) -> Examples:
    """Encode the images with the VAE, and the captions, which are the prompts of the jobs.

    `warn` gets the names of captions that are cut off, and what the VAE fell back to. The latents
    are the means of the VAE's distribution.
    """
    latents, prompts = [], []
    # One at a time: a batch would round otherwise, and need more memory.
    with model_errors_as_corrupt_errors(loaded.folder):
        for image, job in zip(images, jobs, strict=True):
            encoded, events = encode_image(loaded.pipeline, image.pixels)
            latents.append(torch.from_numpy(encoded))
            prompt = loaded.prompt_encoder.encode_prompt(job)
            prompts.append(prompt)
            for event in events:
                warn(f"{image.name}: {event}")
            if prompt.truncated_text:
                warn(f"{image.name}: its caption is too long: {prompt.truncated_text!r} is cut off")
    is_xl = prompts[0].pooled is not None
    return Examples(
        latents=torch.stack(latents),
        embeds=torch.cat([prompt.embeds for prompt in prompts]).cpu(),
        pooled=_stack([prompt.pooled for prompt in prompts]) if is_xl else None,
        time_ids=_time_ids(images) if is_xl else None,
    )


def _stack(pooled: Sequence[Any]) -> Tensor:
    return torch.cat(list(pooled)).cpu()


def _time_ids(images: Sequence[TrainingImage]) -> Tensor:
    """Return what Stable Diffusion XL is told about the sizes of the images."""
    rows = []
    for image in images:
        height, width = image.pixels.shape[:2]
        sizes = SizeConditioning(
            original_size=image.original_size[::-1],
            crop=image.crop[::-1],
            target_size=(height, width),
        )
        rows += sizes.time_ids(1, guided=False)
    return torch.tensor(rows, dtype=torch.float32)
