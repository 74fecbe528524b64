"""Encode the prompts of a batch of jobs into the UNet's conditioning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sdcli.engine.text.encoder import PromptEmbedding, PromptEncoder
from sdcli.job import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """The prompt embeddings of a batch.

    Embeddings are (batch, 77, width); `negative_prompt_embeds` is None without guidance. `events`
    has one tuple of sentences per image.
    """

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None
    events: list[tuple[str, ...]]


def encode_prompts(
    encoder: PromptEncoder, jobs: Sequence[Job], *, embeds_guidance: bool = False
) -> Conditioning:
    """Encode the prompts, and the negative prompts if guidance is on. Raises UsageError.

    `embeds_guidance` tells that the UNet takes the guidance scale as an input, so that there is no
    unconditional half.
    """
    clip_skip = jobs[0].clip_skip
    positive = [encoder.encode(job.prompt, clip_skip) for job in jobs]
    # The condition of the pipeline's `do_classifier_free_guidance`.
    guided = jobs[0].guidance_scale > 1 and not embeds_guidance
    # Without clip_skip: Diffusers doesn't apply it to the negative prompt.
    negative = [encoder.encode(job.negative_prompt) for job in jobs] if guided else []
    events = []
    for image, job in enumerate(jobs):
        negative_embedding = negative[image] if guided else None
        events.append(
            (
                *_truncation_events("prompt", positive[image]),
                *_negative_prompt_events(job, negative_embedding),
            )
        )
    return Conditioning(
        prompt_embeds=torch.cat([embedding.embeds for embedding in positive]),
        negative_prompt_embeds=torch.cat([e.embeds for e in negative]) if guided else None,
        events=events,
    )


def _negative_prompt_events(job: Job, embedding: PromptEmbedding | None) -> tuple[str, ...]:
    if embedding is not None:
        return _truncation_events("negative prompt", embedding)
    if job.negative_prompt:
        reason = "at a guidance of 1 or less" if job.guidance_scale <= 1 else "by this model"
        return (f"the negative prompt is ignored {reason}",)
    return ()


def _truncation_events(name: str, embedding: PromptEmbedding) -> tuple[str, ...]:
    text = embedding.truncated_text
    return (f"{name}: CLIP reads 77 tokens, this was cut off: {text!r}",) if text else ()
