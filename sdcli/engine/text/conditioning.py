"""What steers the UNet: the prompts of a batch as embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sdcli.engine.text.encoder import PromptEncoder
from sdcli.job import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """What steers the UNet: embeddings (batch, 77, width); without guidance no negative ones."""

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None
    events: list[tuple[str, ...]]


def encode_prompts(encoder: PromptEncoder, jobs: Sequence[Job]) -> Conditioning:
    """Encode the jobs' prompts, and the negative ones where guidance will use them."""
    clip_skip = jobs[0].clip_skip
    positive = [encoder.encode(job.prompt, clip_skip) for job in jobs]
    guided = jobs[0].guidance_scale > 1  # as Diffusers decides it
    # Diffusers skips layers for the prompt only, never for the negative one.
    negative = [encoder.encode(job.negative_prompt) for job in jobs] if guided else []
    events = []
    for image, job in enumerate(jobs):
        told = [_truncation_events("prompt", positive[image].truncated_text)]
        if guided:
            told.append(_truncation_events("negative prompt", negative[image].truncated_text))
        elif job.negative_prompt:
            told.append("the negative prompt does nothing at a guidance of 1 or less")
        events.append(tuple(filter(None, told)))
    return Conditioning(
        prompt_embeds=torch.cat([encoding.embeds for encoding in positive]),
        negative_prompt_embeds=torch.cat([e.embeds for e in negative]) if guided else None,
        events=events,
    )


def _truncation_events(what: str, text: str) -> str:
    return f"{what}: CLIP reads 77 tokens, this was cut off: {text!r}" if text else ""
