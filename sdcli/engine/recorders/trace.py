"""Record everything about the run of one image: embeddings, guidance and attention."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from numpy.typing import NDArray

from sdcli.attention import AttentionSelection
from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.recorders.attention import AttentionRecorder
from sdcli.engine.recorders.hooked import HookedRecorder
from sdcli.engine.recorders.host_copy import to_array
from sdcli.engine.recorders.observed_run import ObservedRun
from sdcli.engine.recorders.prompt_words import (
    find_chunks,
    find_prompt_words,
    prompt_tokenizer,
)
from sdcli.engine.runtime.unet_call import sample_of
from sdcli.engine.schedulers.noise_levels import timestep_sigmas
from sdcli.engine.text.tokens import pad_ids
from sdcli.fields.guidance import parse_schedule, scale_at
from sdcli.job import Job
from sdcli.latents import tensor_name
from sdcli.trace import (
    ATTENTION,
    CONDITIONAL,
    NEGATIVE_PROMPT_EMBEDS,
    PROMPT_EMBEDS,
    UNCONDITIONAL,
    PromptToken,
    TracedPrompt,
    TracedStep,
    TraceSink,
)


class TraceRecorder(HookedRecorder):
    """Write the trace of a run of one image to a sink as it is computed.

    Latents are left to a LatentsRecorder. Of each UNet call, the conditional and the unconditional
    output are written as they leave the UNet, and the attention of the start token, the prompt's
    tokens and the end token (tokens, height, width), as `AttentionSelection` averages it.
    """

    def __init__(self, run: ObservedRun, sink: TraceSink) -> None:
        super().__init__()
        if run.images != 1:
            raise ValueError("one image is traced at a time")
        self._run = run
        self._sink = sink
        self._info = run.runs[0]
        self._attention = AttentionRecorder(run, AttentionSelection(by_step=True))
        self._sigmas: list[float] = []
        self._outputs: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._clock = time.perf_counter()

    def __enter__(self) -> Self:
        prompt = _describe_prompt(self._run)
        self._sink.begin_trace(self._info, prompt, sorted(self._attention.layers))
        embeds = self._run.parts[0].conditioning
        self._sink.write_trace(PROMPT_EMBEDS, _array(embeds.prompt_embeds[0]))
        if embeds.negative_prompt_embeds is not None:
            negative = _array(embeds.negative_prompt_embeds[0])
            self._sink.write_trace(NEGATIVE_PROMPT_EMBEDS, negative)
        super().__enter__()
        self._clock = time.perf_counter()
        return self

    def hooks(self) -> Iterator[AbstractContextManager[Any]]:
        """Register the hooks of the UNets, and return the recorder of their attention."""
        for part in self._run.parts:
            yield part.pipeline.unet.register_forward_hook(self._after_unet)
        yield self._attention

    def on_step(self, step: int, latents: torch.Tensor) -> None:
        """Write what the UNet call of the step left behind."""
        if step == 0 or self._outputs is None:
            return
        seconds = time.perf_counter() - self._clock
        conditional, unconditional = self._outputs
        self._sink.write_trace(tensor_name(CONDITIONAL, step), _array(conditional))
        if unconditional is not None:
            self._sink.write_trace(tensor_name(UNCONDITIONAL, step), _array(unconditional))
        maps, shares = self._attention.take_step(step)
        self._sink.write_trace(tensor_name(ATTENTION, step), maps)
        scale, share, cosine = self._guidance(step, conditional, unconditional)
        self._sink.add_step(
            TracedStep(
                step=step,
                timestep=self._info.timesteps[step - 1],
                sigma=self._sigma(step),
                seconds=seconds,
                guidance_scale=scale,
                guidance_share=share,
                guidance_cosine=cosine,
                attention=shares,
            )
        )
        self._outputs = None
        self._clock = time.perf_counter()

    def _after_unet(self, unet: Any, args: Any, output: Any) -> None:
        sample = sample_of(output)
        unconditional = sample[0].detach().clone() if len(sample) > 1 else None
        self._outputs = sample[-1].detach().clone(), unconditional

    def _guidance(
        self, step: int, conditional: torch.Tensor, unconditional: torch.Tensor | None
    ) -> tuple[float | None, float | None, float | None]:
        if unconditional is None:
            return None, None, None
        job, calls = self._info.job, len(self._info.timesteps)
        schedule = parse_schedule(job.guidance_schedule)
        scale = scale_at(schedule, job.guidance_scale, step - 1, calls)
        c, u = conditional.float().flatten(), unconditional.float().flatten()
        guided = u + scale * (c - u)
        share = (scale - 1) * (c - u).norm() / guided.norm()
        return scale, float(share), float(torch.cosine_similarity(c, u, dim=0))

    def _sigma(self, step: int) -> float:
        if not self._sigmas:
            # A run from an image has the last of the scheduler's steps.
            self._sigmas = timestep_sigmas(self._run.scheduler)[-len(self._info.timesteps) :]
        return float(self._sigmas[step - 1])


def _describe_prompt(run: ObservedRun) -> TracedPrompt:
    words = find_prompt_words(run, 0)
    tokenizer, part = prompt_tokenizer(run.parts[0]), run.parts[0]
    owner = {token: word.index for word in words for token in word.tokens}
    ids = _input_ids(tokenizer, run.runs[0].job, part)
    norms = part.conditioning.prompt_embeds[0].float().norm(dim=-1).tolist()
    tokens = [
        PromptToken(
            position=position,
            id=number,
            text=str(tokenizer.convert_ids_to_tokens(number)),
            word=owner.get(position),
            embedding_norm=norms[position],
        )
        for position, number in enumerate(ids)
    ]
    return TracedPrompt(words=words, tokens=tokens)


def _input_ids(tokenizer: Any, job: Job, part: RunPart) -> list[int]:
    length = tokenizer.model_max_length
    if job.reads_syntax:
        chunks = [[token.id for token in chunk] for chunk in find_chunks(tokenizer, job)]
        ids = [pad_ids(tokenizer, chunk)[0] for chunk in chunks]
    else:
        padded = {"padding": "max_length", "max_length": length, "truncation": True}
        ids = [tokenizer(job.prompt, **padded, return_tensors="pt").input_ids]
    # Empty chunks follow the prompt where the negative one is longer.
    empty = part.conditioning.prompt_embeds.shape[1] // length - len(ids)
    ids += [pad_ids(tokenizer, [])[0]] * empty
    return [int(number) for row in ids for number in row[0]]


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return to_array(tensor.detach().to("cpu"))
