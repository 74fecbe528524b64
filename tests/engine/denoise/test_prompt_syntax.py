"""Schedules and combined prompts draw what the pipeline draws when they are done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.engine.text.conditioning import encode_prompts, shape_of
from sdcli.errors import DeviceError
from sdcli.job import Job
from tests.engine.recorded_latents import latents_of, record
from tests.jobs import make_job

HEUN = {
    "scheduler": SchedulerConfig(class_name="HeunDiscreteScheduler"),
    "scheduler_label": "Heun",
}


def syntax_job(prompt: str, **changes: Any) -> Job:
    return make_job(prompt=prompt, prompt_syntax="a1111", reads_syntax=True, **changes)


def encode(loaded: Any, prompt: str) -> torch.Tensor:
    embeds: torch.Tensor = loaded.prompt_encoder.encode(prompt, reads_syntax=True).embeds
    return embeds


def draw_by_hand(loaded: Any, job: Job, prompts: list[str], negatives: list[str]) -> np.ndarray:
    """Call a plain pipeline with the embeddings of one prompt and negative for each UNet call."""
    pipeline = StableDiffusionPipeline(**loaded.pipeline.components, requires_safety_checker=False)
    pipeline.scheduler = build_scheduler(
        loaded.base_scheduler, job.scheduler, steps=job.num_inference_steps, seeds=[job.seed]
    )
    pipeline.set_progress_bar_config(disable=True)
    both = [(encode(loaded, n), encode(loaded, p)) for n, p in zip(negatives, prompts, strict=True)]
    longest = max(embeds.shape[1] for pair in both for embeds in pair)
    empty = encode(loaded, "")
    pairs = [
        [torch.cat([e, *[empty] * ((longest - e.shape[1]) // 77)], 1) for e in pair]
        for pair in both
    ]

    def change(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"prompt_embeds": torch.cat(pairs[min(step + 1, len(pairs) - 1)])}

    latents: torch.Tensor = pipeline(
        prompt_embeds=pairs[0][1],
        negative_prompt_embeds=pairs[0][0],
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        height=job.height,
        width=job.width,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="latent",
        callback_on_step_end=change,
    ).images
    final: np.ndarray = latents[0].numpy()
    return final


LONG = "a dog " * 40
SCHEDULED = [
    ("a [cat:dog:0.5]", "", {}, ["a cat"] * 2 + ["a dog"] * 2, [""] * 4),
    ("a [cat:dog:1] (red:1.2)", "", {}, ["a cat (red:1.2)"] + ["a dog (red:1.2)"] * 3, [""] * 4),
    ("a cat[ and a dog:3]", "", {}, ["a cat"] * 3 + ["a cat and a dog"], [""] * 4),
    ("a cat[ and a dog::0.25]", "", {}, ["a cat and a dog"] + ["a cat"] * 3, [""] * 4),
    ("a [cat|dog]", "[red:blue:2]", {}, ["a cat", "a dog"] * 2, ["red"] * 2 + ["blue"] * 2),
    ("a [cat:dog:2]", "", HEUN, ["a cat"] * 4 + ["a dog"] * 3, [""] * 7),
    (f"[a cat:{LONG}:2]", "red", {}, ["a cat"] * 2 + [LONG] * 2, ["red"] * 4),
    (LONG, "red BREAK green BREAK blue", {}, [LONG] * 4, ["red BREAK green BREAK blue"] * 4),
]


@pytest.mark.sample(3)
@pytest.mark.parametrize(("prompt", "negative", "changes", "prompts", "negatives"), SCHEDULED)
def test_a_schedule_equals_embeddings_replaced_by_hand(
    loaded: Any,
    prompt: str,
    negative: str,
    changes: dict[str, Any],
    prompts: list[str],
    negatives: list[str],
) -> None:
    job = syntax_job(prompt, negative_prompt=negative, **changes)
    expected = draw_by_hand(loaded, job, prompts, negatives)
    assert np.array_equal(latents_of(loaded, job), expected)


def test_a_schedule_combines_with_a_guidance_interval(loaded: Any) -> None:
    """From the change on, the run is that of the second prompt from the same latents."""
    limits = {"guidance_from": 0.25, "guidance_to": 0.75}
    cat, dog = (make_job(prompt=prompt, **limits) for prompt in ("a cat", "a dog"))
    result, source = record(loaded, cat)
    same = latents_of(loaded, syntax_job("a [cat:cat:0.5]", **limits))
    assert np.array_equal(result.latents["final"], same)
    changed = latents_of(loaded, syntax_job("a [cat:dog:0.5]", **limits))
    assert not np.array_equal(changed, same)
    resumed = latents_of(loaded, dog, start=engine.find_resume_point(loaded, dog, cat, source, 2))
    assert np.array_equal(changed, resumed)


def combine_by_hand(loaded: Any, job: Job, prompts: list[str], weights: list[float]) -> np.ndarray:
    """A loop of DDIM of its own: u + s Σ w_i (c_i - u)."""
    scheduler = build_scheduler(
        loaded.base_scheduler, job.scheduler, steps=job.num_inference_steps, seeds=[job.seed]
    )
    shape = (1, 4, job.height // 8, job.width // 8)
    latents = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(job.seed))
    unet = loaded.pipeline.unet
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            outputs = [
                unet(latents, timestep, encoder_hidden_states=encode(loaded, text))[0]
                for text in (job.negative_prompt, *prompts)
            ]
            unguided = outputs[0]
            total = unguided
            for weight, output in zip(weights, outputs[1:], strict=True):
                total = total + job.guidance_scale * weight * (output - unguided)
            latents = scheduler.step(total, timestep, latents, eta=0.0)[0]
    final: np.ndarray = latents[0].numpy()
    return final


@pytest.mark.parametrize(
    ("prompt", "parts", "weights"),
    [
        ("a cat AND a dog", ["a cat ", " a dog"], [1, 1]),
        ("a cat :1.2 AND a red (dog:1.3) :0.4", ["a cat", " a red (dog:1.3)"], [1.2, 0.4]),
        ("a cat AND a dog :-0.5 AND blue", ["a cat ", " a dog", " blue"], [1, -0.5, 1]),
    ],
)
def test_and_adds_the_guidance_of_its_prompts(
    loaded: Any, prompt: str, parts: list[str], weights: list[float]
) -> None:
    job = syntax_job(prompt, negative_prompt="green", guidance_scale=2.0)
    expected = combine_by_hand(loaded, job, parts, weights)
    assert np.allclose(latents_of(loaded, job), expected, atol=2e-4)
    assert "forward" not in vars(loaded.pipeline.unet)


def test_a_second_prompt_of_weight_zero_changes_nothing(loaded: Any) -> None:
    alone = latents_of(loaded, make_job(prompt="a cat"))
    assert np.allclose(latents_of(loaded, syntax_job("a cat AND a dog :0")), alone, atol=2e-5)


def test_jobs_of_different_shapes_are_drawn_as_alone(loaded: Any) -> None:
    prompts = ["a cat", LONG, "a (cat:1.2)", "a cat AND a dog", "a [cat|dog]"]
    jobs = [
        syntax_job(prompt, index=i, seed=i) if i else make_job(prompt=prompt, index=0, seed=0)
        for i, prompt in enumerate(prompts)
    ]
    results = engine.generate_batch(loaded, jobs, save_latents="final")
    assert [result.job.index for result in results] == [0, 1, 2, 3, 4]
    for job, result in zip(jobs, results, strict=True):
        assert result.latents is not None
        assert np.allclose(result.latents["final"], latents_of(loaded, job), atol=1e-4)


def test_too_little_memory_for_the_text_encoder_is_a_device_error(loaded: Any) -> None:
    """Also in a batch, whose prompts are counted first."""

    def fail(module: Any, args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    jobs = [syntax_job(f"a (fish:1.{i})", index=i) for i in (1, 2)]
    hook = loaded.pipeline.text_encoder.register_forward_pre_hook(fail)
    try:
        with pytest.raises(DeviceError, match="out of memory"):
            engine.generate_batch(loaded, jobs)
    finally:
        hook.remove()


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"prompt": "a (cat:1.2)"}, (1, 1)),
        ({"prompt": LONG}, (1, 2)),
        ({"prompt": "a", "negative_prompt": "red BREAK green BREAK blue"}, (1, 3)),
        ({"prompt": "a", "negative_prompt": LONG, "guidance_scale": 1.0}, (1, 1)),
        ({"prompt": f"[a cat:{LONG}:2]"}, (1, 2)),
        ({"prompt": f"a cat AND {LONG} AND a dog"}, (3, 2)),
    ],
)
def test_the_shape_of_a_job_is_that_of_its_embeddings(
    loaded: Any, changes: dict[str, Any], shape: tuple[int, int]
) -> None:
    job = syntax_job(**changes)
    assert shape_of(loaded.prompt_encoder, job) == shape
    [*conditionings] = encode_prompts(loaded.prompt_encoder, [job]).values()
    assert {len(c.components) or 1 for c in conditionings} == {shape[0]}
    assert {c.prompt_embeds.shape[1] for c in conditionings} == {77 * shape[1]}
