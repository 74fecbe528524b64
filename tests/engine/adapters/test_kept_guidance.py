"""Guidance at every Nth call equals a denoising loop written by hand, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.models.attention_processor import (
    PAGCFGIdentitySelfAttnProcessor2_0,
    PAGIdentitySelfAttnProcessor2_0,
)

from sdcli import engine
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.fields.guidance import parse_schedule
from sdcli.job import Job
from tests.engine.input_jobs import by_hand, image_job, inputs_of, mask_job
from tests.engine.test_control_oracle import controlled, networks, pixels_for
from tests.engine.xl.hand_calls import set_scheduler
from tests.jobs import CPU, make_job
from tests.xl_models import write_xl_model

__all__ = ["networks"]

STEPS = 9
FULL = {2: {0, 1, 2, 4, 6, 7, 8}, 3: {0, 1, 2, 5, 7, 8}}
"""The steps of nine that compute the unconditional prediction, for every 2nd and every 3rd."""


def job_of(every: int = 2, **changes: Any) -> Job:
    return make_job(**{"num_inference_steps": STEPS, "guidance_every": every, **changes})


def draw(loaded: Any, job: Job, **more: Any) -> np.ndarray:
    inputs = inputs_of(job) if job.image else None
    [result] = engine.generate_batch(loaded, [job], inputs=inputs, **more)
    return result.pixels


@torch.no_grad()
def loop_by_hand(pipe: Any, job: Job, full: set[int]) -> np.ndarray:
    """The loop of a Diffusers user, who computes the unconditional half in some steps only."""
    set_scheduler(pipe, pipe.config._name_or_path, job)
    conditional, unconditional = pipe.encode_prompt(job.prompt, "cpu", 1, True)
    generator = torch.Generator("cpu").manual_seed(job.seed)
    pipe.scheduler.set_timesteps(job.num_inference_steps)
    latents = torch.randn((1, 4, job.height // 8, job.width // 8), generator=generator)
    latents = latents * pipe.scheduler.init_noise_sigma
    points = parse_schedule(job.guidance_schedule) or ((0.0, job.guidance_scale),)
    middle = [
        module for module in pipe.unet.mid_block.modules()
        if type(module).__name__ == "Attention" and not module.is_cross_attention
    ]  # fmt: skip
    originals = [module.processor for module in middle]
    difference = torch.zeros(())
    for step, time in enumerate(pipe.scheduler.timesteps):
        scale = [s for at, s in points if at * STEPS <= step][-1]
        prompts = [unconditional, conditional] if step in full else [conditional]
        processor: Any = PAGIdentitySelfAttnProcessor2_0()
        if step in full:
            processor = PAGCFGIdentitySelfAttnProcessor2_0()
        if job.pag_scale:
            prompts.append(conditional)
            for module in middle:
                module.set_processor(processor)
        rows = pipe.scheduler.scale_model_input(torch.cat([latents] * len(prompts)), time)
        outputs = pipe.unet(rows, time, encoder_hidden_states=torch.cat(prompts)).sample
        c = outputs[len(prompts) - 1 - bool(job.pag_scale)][None]
        if step in full:
            difference = c - outputs[:1]
        u = outputs[:1] if step in full else c - difference
        guided = u + scale * (c - u)
        if job.pag_scale:
            guided = guided + job.pag_scale * (c - outputs[-1:])
        if job.guidance_rescale:
            spread = c.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
            rescaled = guided * spread
            guided = job.guidance_rescale * rescaled + (1 - job.guidance_rescale) * guided
        latents = pipe.scheduler.step(guided, time, latents, return_dict=False)[0]
    for module, original in zip(middle, originals, strict=True):
        module.set_processor(original)
    image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
    [drawn] = pipe.image_processor.postprocess(image.detach(), output_type="pil")
    return np.asarray(drawn)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("every", "changes"),
    [
        (2, {"guidance_rescale": 0.7}),
        (3, {"guidance_schedule": "0:7.5,0.4:4", "guidance_scale": 7.5}),
        (2, {"pag_scale": 3.0, "guidance_rescale": 0.7}),
    ],
)
def test_it_equals_a_loop_by_hand(
    loaded: Any, plain: Any, every: int, changes: dict[str, Any]
) -> None:
    job = job_of(every, **changes)
    drawn = draw(loaded, job)
    assert np.array_equal(drawn, loop_by_hand(plain, job, FULL[every]))
    assert not np.array_equal(drawn, draw(loaded, replace(job, guidance_every=1)))


@contextmanager
def by_hand_every(unet: Any, full: set[int]) -> Iterator[None]:
    """Compute half of the calls of plain Diffusers that are not full."""
    original, calls, kept = unet.forward, iter(range(1000)), {}

    def half(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: half(item) for name, item in value.items()}
        return value[1:] if isinstance(value, torch.Tensor) and value.ndim else value

    def forward(sample: Any, timestep: Any, **kwargs: Any) -> Any:
        if next(calls) in full:
            [output] = original(sample, timestep, **kwargs)
            kept["difference"] = output[1:] - output[:1]
            return (output,)
        [output] = original(sample[1:], timestep, **half(kwargs))
        return (torch.cat([output - kept["difference"], output]),)

    unet.forward = forward
    try:
        yield
    finally:
        del unet.forward


@pytest.mark.parametrize("make", [image_job, mask_job])
def test_a_run_from_an_image_equals_diffusers(loaded: Any, plain: Any, make: Any) -> None:
    job = make(num_inference_steps=12, guidance_every=2)
    with by_hand_every(plain.unet, FULL[2]):
        expected = by_hand(plain, job)
    assert np.array_equal(draw(loaded, job), expected)


def test_stable_diffusion_xl_equals_diffusers(tmp_path: Path) -> None:
    folder = write_xl_model(tmp_path / "xl")
    spec = replace(CPU, model=str(folder))
    job = job_of(spec=spec, guidance_scale=5.0, negative_prompt="a dog", guidance_rescale=0.5)
    plain = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    with by_hand_every(plain.unet, FULL[2]):
        expected = by_hand(plain, job)
    assert np.array_equal(draw(engine.load(spec), job), expected)


@contextmanager
def rows_of(unet: Any) -> Iterator[tuple[list[int], list[int]]]:
    """Record the rows of each call of the UNet's first block, and of its second one, is deep."""
    rows: tuple[list[int], list[int]] = ([], [])

    def note(kept: list[int]) -> Any:
        return lambda _, args, kwargs, out: kept.append(len(kwargs["hidden_states"]))

    handles = [
        unet.down_blocks[i].register_forward_hook(note(rows[i]), with_kwargs=True) for i in (0, 1)
    ]
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "222121222"),
        ({"guidance_every": 1}, "222222222"),
        ({"guidance_every": 100}, "222111122"),
        # Guidance begins at call 3, where there is no difference yet, and ends at call 6.
        ({"guidance_from": 0.3, "guidance_to": 0.6}, "111221111"),
        ({"guidance_schedule": "0:3,0.3:1,0.5:3", "guidance_every": 9}, "222112122"),
        # The prompt changes before call 5.
        ({"prompt": "a [cat:dog:0.6]", "reads_syntax": True}, "222122222"),
        # The second prompt has no unconditional half.
        ({"prompt": "a cat AND a dog", "reads_syntax": True}, "212121112111212121"),
        ({"scheduler": "Heun", "num_inference_steps": 5}, "222121222"),
        ({"scheduler": "PNDM", "num_inference_steps": 8}, "222121222"),
    ],
)
def test_the_unconditional_half_is_computed_where_it_must(
    loaded: Any, changes: dict[str, Any], expected: str
) -> None:
    if name := changes.get("scheduler"):
        changes = {**changes, "scheduler": resolve_scheduler(name).choice, "scheduler_label": name}
    with rows_of(loaded.pipeline.unet) as (rows, _):
        engine.generate_batch(loaded, [job_of(**changes)])
    assert "".join(map(str, rows)) == expected


def test_a_batch_keeps_a_difference_for_each_image(loaded: Any) -> None:
    jobs = [job_of(index=i, prompt=p, seed=i) for i, p in enumerate(("a cat", "a red star"))]
    with rows_of(loaded.pipeline.unet) as (rows, _):
        together = engine.generate_batch(loaded, jobs)
    assert rows == [4, 4, 4, 2, 4, 2, 4, 4, 4]
    for job, result in zip(jobs, together, strict=True):
        assert np.abs(draw(loaded, job).astype(int) - result.pixels).max() <= 1


@pytest.mark.parametrize(
    ("every", "shallow", "deep"),
    [
        ((2, 2), "222121222", "2222222"),
        # Deep features of one row do not do for two.
        ((2, 3), "222112122", "22212122"),
        ((3, 2), "222121222", "2221222"),
    ],
)
def test_it_is_combined_with_a_feature_cache(
    loaded: Any, every: tuple[int, int], shallow: str, deep: str
) -> None:
    cache, guidance = every
    with rows_of(loaded.pipeline.unet) as rows:
        engine.generate_batch(loaded, [job_of(guidance, feature_cache=cache)])
    assert ["".join(map(str, row)) for row in rows] == [shallow, deep]


def test_a_controlnet_guides_the_half_that_is_computed(loaded: Any, networks: Any) -> None:
    job = controlled(job_of(), CPU, networks[:1], ["a.png"])
    half, whole = (replace(job, guidance_every=n) for n in (2, 1))
    with rows_of(loaded.pipeline.unet) as (rows, _):
        drawn = draw(loaded, half, controls=pixels_for(half))
    assert rows == [2, 2, 2, 1, 2, 1, 2, 2, 2]
    without, full = draw(loaded, job_of()), draw(loaded, whole, controls=pixels_for(whole))
    distances = [np.abs(drawn.astype(int) - other).mean() for other in (full, without)]
    assert distances[0] < distances[1] / 2


def test_it_leaves_nothing_behind(loaded: Any) -> None:
    before = draw(loaded, job_of(1))

    def stop(event: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate_batch(loaded, [job_of()], on_step=stop)
    assert "forward" not in vars(loaded.pipeline.unet)
    assert np.array_equal(draw(loaded, job_of(1)), before)
