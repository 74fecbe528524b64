"""Change the guidance scale during a run, turn it on and off, and change its prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from sdcli.engine.denoise.pipeline_arguments import resize_batch
from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.denoise.size_conditioning import to_tensor
from sdcli.engine.runtime.diffusers_internals import embeds_guidance, set_guidance_scale
from sdcli.engine.text.conditioning import Conditioning
from sdcli.fields.guidance import parse_schedule, scale_at
from sdcli.guided_calls import is_guided_call, keeps_difference
from sdcli.job import Job


class GuidanceInterval:
    """Change the guidance scale during a part of a run, turn it on and off, and change its prompts.

    UNet call i of n, counted from 0, is guided if `guidance_from` <= i / n < `guidance_to`. The
    other calls, and those to which a guidance schedule gives a scale of 1 or less, do not compute
    the unconditional half of the batch. See Kynkäänniemi et al. 2024,
    "Applying Guidance in a Limited Interval".
    """

    def __init__(self, job: Job, part: RunPart) -> None:
        self._job = job
        self._part = part
        self._schedule = parse_schedule(job.guidance_schedule)
        self._conditioning = part.conditioning_at(part.first_call, part.all_calls or 1)
        self._call = part.first_call

    def get_conditioning(self) -> Conditioning:
        """Return the conditioning of the current UNet call."""
        return self._conditioning

    def position(self) -> tuple[int, int]:
        """Return the number of the current UNet call, from 0, and that of all calls."""
        return self._call, self._part.all_calls or self._part.pipeline.num_timesteps

    def is_guided(self) -> bool:
        """Return whether the current UNet call is guided."""
        return self._is_guided(*self.position())

    def keeps_difference(self) -> bool:
        """Return whether it is guided by the difference of an earlier call."""
        call, calls = self.position()
        if call == self._part.first_call or not keeps_difference(self._job, call, calls):
            return False
        # The difference of another prompt is not that of this one.
        return self._part.conditioning_at(call - 1, calls) is self._conditioning

    def computed_rows(self, rows: int) -> int:
        """Return how many of the rows of a UNet call are computed: all, or the conditional half."""
        images = len(self._part.conditioning.prompt_embeds)
        return images if rows == 2 * images and self.keeps_difference() else rows

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the pipeline that make its first UNet call guided, or not."""
        part, conditioning = self._part, self._conditioning
        first, calls = part.first_call, part.all_calls or 1
        guided = self._is_guided(first, calls)
        # A UNet that takes the guidance scale as an input needs it without guidance, too.
        is_scaled = guided or embeds_guidance(part.pipeline)
        negative = conditioning.negative_prompt_embeds if guided else None
        arguments = {
            "guidance_scale": self._scale(first, calls) if is_scaled else 1.0,
            "prompt_embeds": conditioning.prompt_embeds,
            "negative_prompt_embeds": negative,
        }
        if conditioning.pooled_prompt_embeds is None:
            return arguments
        pooled = conditioning.negative_pooled_prompt_embeds if guided else None
        return arguments | {
            "pooled_prompt_embeds": conditioning.pooled_prompt_embeds,
            "negative_pooled_prompt_embeds": pooled,
        }

    def after_call(
        self, pipeline: Any, call: int, tensors: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Prepare the pipeline for the UNet call after `call`, which counts from 0 in this part.

        `tensors` are those of the pipeline's loop that it passed to its callback. Returns the
        tensors to replace.
        """
        first, calls = self._part.first_call, self._part.all_calls or pipeline.num_timesteps
        self._call = first + call + 1
        guided = self._is_guided(first + call + 1, calls)
        if call + 1 == pipeline.num_timesteps:
            return {}
        if not embeds_guidance(pipeline):
            scale = self._scale(first + call + 1, calls) if guided else 1.0
            set_guidance_scale(pipeline, scale)
        before, self._conditioning = (
            self._conditioning,
            self._part.conditioning_at(first + call + 1, calls),
        )
        if guided == self._is_guided(first + call, calls):
            is_same = self._conditioning is before
            return {} if is_same else dict(self._inputs(guided=guided))
        # The pipeline concatenates its inputs only once, before its loop.
        inputs = dict(self._inputs(guided=guided))
        images = len(self._part.conditioning.prompt_embeds)
        for name in tensors.keys() - {"latents"}:
            inputs[name] = resize_batch(tensors[name], images, guided=guided)
        return inputs

    def _inputs(self, *, guided: bool) -> Iterator[tuple[str, torch.Tensor]]:
        conditioning, sizes = self._conditioning, self._part.sizes
        embeds, pooled = conditioning.prompt_embeds, conditioning.pooled_prompt_embeds
        yield "prompt_embeds", _join(conditioning.negative_prompt_embeds, embeds, guided)
        if pooled is not None and sizes is not None:
            negative = conditioning.negative_pooled_prompt_embeds
            yield "add_text_embeds", _join(negative, pooled, guided)
            rows = sizes.time_ids(len(pooled), guided=guided)
            yield "add_time_ids", to_tensor(rows, embeds)

    def _is_guided(self, call: int, calls: int) -> bool:
        if self._part.conditioning.negative_prompt_embeds is None:
            return False
        return is_guided_call(self._job, call, calls)

    def _scale(self, call: int, calls: int) -> float:
        return scale_at(self._schedule, self._job.guidance_scale, call, calls)


def _join(negative: torch.Tensor | None, positive: torch.Tensor, guided: bool) -> torch.Tensor:
    parts = [negative, positive] if guided else [positive]
    return torch.cat([part for part in parts if part is not None])
