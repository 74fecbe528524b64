"""Encode the prompts of a batch of jobs into the UNet's conditioning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from sdcli.engine.text.encoder import JobEncoder, PromptEmbedding
from sdcli.job import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """The prompt embeddings of a batch.

    Embeddings are (batch, 77, width), pooled ones, which Stable Diffusion XL has, (batch, width);
    the negative ones are None without guidance. `events` has one tuple of sentences per image.
    """

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None
    pooled_prompt_embeds: torch.Tensor | None = None
    negative_pooled_prompt_embeds: torch.Tensor | None = None
    events: list[tuple[str, ...]]


def encode_prompts(
    encoder: JobEncoder, jobs: Sequence[Job], *, embeds_guidance: bool = False
) -> Conditioning:
    """Encode the prompts, and the negative prompts if guidance is on. Raises UsageError.

    `embeds_guidance` tells that the UNet takes the guidance scale as an input, so that there is no
    unconditional half.
    """
    positive = [encoder.encode_prompt(job) for job in jobs]
    # The condition of the pipeline's `do_classifier_free_guidance`.
    guided = jobs[0].guidance_scale > 1 and not embeds_guidance
    negative = [encoder.encode_negative_prompt(job) for job in jobs] if guided else []
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
        pooled_prompt_embeds=_join_pooled(positive),
        negative_pooled_prompt_embeds=_join_pooled(negative),
        events=events,
    )


def _join_pooled(embeddings: Sequence[PromptEmbedding]) -> torch.Tensor | None:
    pooled = [embedding.pooled for embedding in embeddings if embedding.pooled is not None]
    return torch.cat(pooled) if pooled else None


def _negative_prompt_events(job: Job, embedding: PromptEmbedding | None) -> tuple[str, ...]:
    if embedding is not None:
        return tuple(_truncation_events("negative prompt", embedding))
    if job.negative_prompt:
        reason = "at a guidance of 1 or less" if job.guidance_scale <= 1 else "by this model"
        return (f"the negative prompt is ignored {reason}",)
    return ()


def _truncation_events(name: str, embedding: PromptEmbedding) -> Iterator[str]:
    first, second = embedding.truncated_text, embedding.truncated_text_2
    # The text encoders usually read the same text, and cut it off at the same place.
    if second in (None, first):
        texts = {name: first}
    else:
        texts = {f"{name}, first text encoder": first, f"{name}, second text encoder": second}
    for label, text in texts.items():
        if text:
            yield f"{label}: CLIP reads 77 tokens, this was cut off: {text!r}"
