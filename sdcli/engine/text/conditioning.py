"""Encode the prompts of a batch of jobs into the UNet's conditioning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from sdcli.engine.text.encoder import JobEncoder, PromptEmbedding
from sdcli.engine.text.job_phases import JobPhase, phase_at, read_job
from sdcli.engine.text.weighted import read_chunks
from sdcli.fields.embedding import embedding_words
from sdcli.fields.prompt import COMPEL
from sdcli.job import Job
from sdcli.prompts.syntax.compel import read_compel


@dataclass(frozen=True, eq=False)
class Component:
    """The embeddings of the prompts of a batch that AND adds to the first ones.

    Of the shapes of a Conditioning's; `weights` are (batch,).
    """

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor | None
    weights: torch.Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """The prompt embeddings of a batch.

    Embeddings are (batch, 77 for each chunk, width), pooled ones, which Stable Diffusion XL has,
    (batch, width); the negative ones are None without guidance. `components` are those of all
    prompts that AND combines, the first ones included, and empty without AND. `events` has one
    tuple of sentences per image.
    """

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None
    pooled_prompt_embeds: torch.Tensor | None = None
    negative_pooled_prompt_embeds: torch.Tensor | None = None
    components: tuple[Component, ...] = ()
    events: list[tuple[str, ...]]


def encode_prompts(
    encoder: JobEncoder, jobs: Sequence[Job], *, embeds_guidance: bool = False
) -> dict[int, Conditioning]:
    """Encode the prompts, and the negative prompts if guidance is on. Raises UsageError.

    Returns the conditioning by the first step that it is for, counted from 1. `embeds_guidance`
    tells that the UNet takes the guidance scale as an input, so that there is no unconditional
    half. The jobs must have equal `shape_of`.
    """
    phases = [read_job(job) for job in jobs]
    starts = sorted({phase.first_step for job_phases in phases for phase in job_phases})
    rows = {
        start: [
            _encode(encoder, phase_at(job_phases, start), embeds_guidance=embeds_guidance)
            for job_phases in phases
        ]
        for start in starts
    }
    length = max(embeds.shape[1] for row in rows.values() for r in row for embeds in r.states())
    events = [
        tuple(dict.fromkeys(event for start in starts for event in rows[start][i].events))
        for i in range(len(jobs))
    ]
    return {
        start: _join([r.pad(encoder, length) for r in row], events) for start, row in rows.items()
    }


def shape_of(encoder: JobEncoder, job: Job) -> tuple[int, int]:
    """Return how many prompts AND combines, and the most chunks of any: a batch has one of each."""
    phases = read_job(job)
    chunks = [_count_chunks(encoder, part) for phase in phases for part in phase.components]
    return len(phases[0].components), max(chunks)


def _count_chunks(encoder: JobEncoder, job: Job) -> int:
    """Return the chunks of the longest prompt, by its tokens alone."""
    if not job.reads_syntax:
        return 1
    texts = [(job.prompt, job.prompt_2 or job.prompt)]
    if job.guidance_scale > 1:
        texts.append((job.negative_prompt, job.negative_prompt_2 or job.negative_prompt))
    # The only text encoder of a model reads the first text.
    if job.read_as == COMPEL:
        return max(len(read_compel(text)) for both in texts for text in both)
    pairs = [pair for both in texts for pair in zip(encoder.tokenizers, both, strict=False)]
    words = embedding_words(job.embedding_facts)
    return max(len(read_chunks(tokenizer, text, words)) for tokenizer, text in pairs)


@dataclass(frozen=True)
class _Row:
    """The embeddings of one job in one phase. Without guidance, `negative` is None."""

    phase: JobPhase
    positive: list[PromptEmbedding]
    negative: PromptEmbedding | None

    def states(self) -> Iterator[torch.Tensor]:
        for embedding in self.positive:
            yield embedding.embeds
        if self.negative is not None:
            yield self.negative.embeds

    @property
    def events(self) -> Iterator[str]:
        for embedding in self.positive:
            yield from _events("prompt", embedding)
        yield from _negative_prompt_events(self.phase.components[0], self.negative)

    def pad(self, encoder: JobEncoder, length: int) -> _Row:
        """Return the row with empty chunks at the end of all embeddings that are shorter."""
        if all(embeds.shape[1] == length for embeds in self.states()):
            return self
        empty = _empty(self.phase.components[0])
        filling = encoder.encode_prompt(empty).embeds
        positive = [_extend(embedding, filling, length) for embedding in self.positive]
        negative = self.negative
        if negative is not None:
            negative = _extend(negative, encoder.encode_negative_prompt(empty).embeds, length)
        return replace(self, positive=positive, negative=negative)


def extend_embedding(
    encoder: JobEncoder, job: Job, embedding: PromptEmbedding, length: int
) -> PromptEmbedding:
    """Return the embedding of a prompt with empty chunks at its end, if it is shorter."""
    if embedding.embeds.shape[1] >= length:
        return embedding
    return _extend(embedding, encoder.encode_prompt(_empty(job)).embeds, length)


def _empty(job: Job) -> Job:
    return replace(
        job,
        prompt="",
        prompt_2=None,
        negative_prompt="",
        negative_prompt_2=None,
        reads_syntax=True,
    )


def _extend(embedding: PromptEmbedding, filling: torch.Tensor, length: int) -> PromptEmbedding:
    missing = (length - embedding.embeds.shape[1]) // filling.shape[1]
    return replace(embedding, embeds=torch.cat([embedding.embeds, *[filling] * missing], dim=1))


def _encode(encoder: JobEncoder, phase: JobPhase, *, embeds_guidance: bool) -> _Row:
    job = phase.components[0]
    # The condition of the pipeline's `do_classifier_free_guidance`.
    guided = job.guidance_scale > 1 and not embeds_guidance
    positive = [encoder.encode_prompt(component) for component in phase.components]
    return _Row(phase, positive, encoder.encode_negative_prompt(job) if guided else None)


def _join(rows: Sequence[_Row], events: list[tuple[str, ...]]) -> Conditioning:
    """Return the conditioning of a batch whose images have these rows."""
    components = []
    for index in range(len(rows[0].positive)):
        embeddings = [row.positive[index] for row in rows]
        embeds = torch.cat([embedding.embeds for embedding in embeddings])
        weights = torch.tensor([row.phase.weights[index] for row in rows], device=embeds.device)
        components.append(Component(embeds, _join_pooled(embeddings), weights))
    negative = [row.negative for row in rows if row.negative is not None]
    is_combined = len(components) > 1
    return Conditioning(
        prompt_embeds=components[0].prompt_embeds,
        negative_prompt_embeds=torch.cat([e.embeds for e in negative]) if negative else None,
        pooled_prompt_embeds=components[0].pooled_prompt_embeds,
        negative_pooled_prompt_embeds=_join_pooled(negative),
        components=tuple(components) if is_combined else (),
        events=events,
    )


def _join_pooled(embeddings: Sequence[PromptEmbedding]) -> torch.Tensor | None:
    pooled = [embedding.pooled for embedding in embeddings if embedding.pooled is not None]
    return torch.cat(pooled) if pooled else None


def _negative_prompt_events(job: Job, embedding: PromptEmbedding | None) -> Iterator[str]:
    if embedding is not None:
        yield from _events("negative prompt", embedding)
    elif job.negative_prompt.strip():
        reason = "at a guidance of 1 or less" if job.guidance_scale <= 1 else "by this model"
        yield f"the negative prompt is ignored {reason}"


def _events(name: str, embedding: PromptEmbedding) -> Iterator[str]:
    yield from (f"{name}: {note}" for note in embedding.notes)
    first, second = embedding.truncated_text, embedding.truncated_text_2
    # The text encoders usually read the same text, and cut it off at the same place.
    if second in (None, first):
        texts = {name: first}
    else:
        texts = {f"{name}, first text encoder": first, f"{name}, second text encoder": second}
    for label, text in texts.items():
        if text:
            yield f"{label}: CLIP reads 77 tokens, this was cut off: {text!r}"
