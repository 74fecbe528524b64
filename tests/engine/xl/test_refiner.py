"""A run that the refiner ends, against Diffusers and against runs without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdcli import GenerationRequest, engine, generate
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.errors import ModelError, UsageError
from sdcli.planning.resolve import resolve_jobs
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import refine_by_hand, xl_job

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]


def refined_job(scheduler: str = "EulerDiscreteScheduler", **changes: Any) -> Any:
    own = {"num_inference_steps": 10, "refiner_at": 0.8, "aesthetic_score": 6.0}
    return xl_job(scheduler, **{**own, **changes})


@contextmanager
def counted_calls(*modules: Any) -> Iterator[list[int]]:
    """Count the calls of each module."""
    counts = [0] * len(modules)

    def counter(index: int) -> Any:
        def count(module: Any, args: Any) -> None:
            counts[index] += 1

        return count

    hooks = [m.register_forward_pre_hook(counter(i)) for i, m in enumerate(modules)]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guidance_scale": 1.0},
        {"negative_prompt": "a red background"},
        {"empty_negative": True},
        {"prompt_2": "a fish"},
        {"clip_skip": 1},
        {"aesthetic_score": 2.0},
        {"original_size": "640x480", "crop": "8,24", "target_size": "512x256"},
        {"width": 96},
        {"refiner_at": 0.35},
        {"guidance_rescale": 0.5},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_every_argument_equals_diffusers(
    xl_refined: Any, plain_xl: Any, plain_refiner: Any, base_folder: Path, changes: dict[str, Any]
) -> None:
    job = refined_job(**changes)
    [result] = engine.generate_batch(xl_refined, [job])
    theirs = refine_by_hand(plain_xl, plain_refiner, base_folder, job)
    assert np.array_equal(result.pixels, theirs)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", ["Euler a", "DPM++ 2M Karras", "DDIM", "UniPC", "DPM++ 2M SDE"])
def test_samplers_equal_diffusers(
    xl_refined: Any, plain_xl: Any, plain_refiner: Any, base_folder: Path, name: str
) -> None:
    job = refined_job(name)
    [result] = engine.generate_batch(xl_refined, [job])
    theirs = refine_by_hand(plain_xl, plain_refiner, base_folder, job)
    assert np.array_equal(result.pixels, theirs)


@pytest.mark.parametrize(
    ("name", "steps", "fraction", "calls"),
    [
        ("EulerDiscreteScheduler", 10, 0.8, [8, 2]),
        ("DPM++ 2M", 10, 0.8, [9, 1]),
        ("DPMSolverMultistepScheduler", 10, 0.8, [8, 2]),
        ("EulerDiscreteScheduler", 7, 0.8, [5, 2]),
        ("DPM++ 2M", 7, 0.8, [6, 1]),
        ("EulerDiscreteScheduler", 10, 0.5, [5, 5]),
    ],
)
def test_a_run_is_divided_by_the_trained_time(
    xl_refined: Any, name: str, steps: int, fraction: float, calls: list[int]
) -> None:
    job = refined_job(name, num_inference_steps=steps, refiner_at=fraction)
    seen: list[tuple[int, int]] = []
    with counted_calls(xl_refined.pipeline.unet, xl_refined.refiner.pipeline.unet) as counts:
        [result] = engine.generate_batch(
            xl_refined, [job], on_step=lambda event: seen.append((event.step, event.steps))
        )
    assert counts == calls
    assert seen == [(step, steps) for step in range(1, steps + 1)]
    assert result.run.refiner_call == calls[0] + 1


HARMLESS = 1e-3
"""Relative distance that comes of a multistep solver's fresh start, which needs a step or two."""


@pytest.fixture(scope="module")
def self_refined(base_folder: Path) -> Any:
    """A base model that is its own refiner."""
    return load(base_folder, refiner=str(base_folder))


@pytest.mark.sample(3)
@pytest.mark.filterwarnings("ignore:.*algorithm_type:FutureWarning")
@pytest.mark.parametrize("name", [row.name for row in SAMPLERS])
def test_every_sampler_hands_over_well_or_is_refused(self_refined: Any, xl: Any, name: str) -> None:
    """A model that continues its own run draws nearly the image that it draws alone."""
    request = GenerationRequest(
        prompt="a cat", spec=self_refined.spec, scheduler=name, num_inference_steps=12, seed=3,
        width=64, height=64, guidance_scale=3.0,
    )  # fmt: skip
    row = next(row for row in SAMPLERS if row.name == name)
    defaults = fetch_defaults(self_refined.spec)
    if row.unet_call_formula != "N" or name == "LMS":
        with pytest.raises(UsageError, match=r"refiner: .* cannot hand a run over"):
            list(resolve_jobs(request, defaults, 0))
        return
    [job] = resolve_jobs(request, defaults, 0)
    distance = distance_from_a_run_alone(self_refined, xl, job)
    if not row.is_multistep:
        assert distance == 0
    else:
        assert distance < (0.02 if row.stochastic else HARMLESS)


@pytest.mark.parametrize("name", ["LMS", "PLMS", "Heun"])
def test_the_refused_samplers_would_draw_something_else(
    self_refined: Any, xl: Any, name: str
) -> None:
    job = xl_job(name, num_inference_steps=12, refiner_at=0.8, guidance_scale=3.0, seed=3)
    assert distance_from_a_run_alone(self_refined, xl, job) > HARMLESS


def distance_from_a_run_alone(refined: Any, alone: Any, job: Any) -> float:
    """Return the relative distance of the last latents of a divided run from a whole one."""
    with counted_calls(refined.refiner.pipeline.unet) as counts:
        [together] = engine.generate_batch(refined, [job], save_latents="final")
    assert counts[0] > 0
    [whole] = engine.generate_batch(alone, [job], save_latents="final")
    difference = together.latents["final"] - whole.latents["final"]
    return float(np.sqrt(np.mean(difference**2)) / np.std(whole.latents["final"]))


@pytest.mark.parametrize(
    ("steps", "fraction", "idle"), [(10, 0.999, "refiner"), (5, 0.1, "base model")]
)
def test_a_part_without_steps_is_refused(
    xl_refined: Any, steps: int, fraction: float, idle: str
) -> None:
    job = refined_job(num_inference_steps=steps, refiner_at=fraction)
    with pytest.raises(UsageError, match=f"leaves the {idle} no step"):
        engine.generate_batch(xl_refined, [job])


def test_the_latents_of_both_parts_are_one_trajectory(xl_refined: Any) -> None:
    job = refined_job("ddim")
    [plain] = engine.generate_batch(xl_refined, [job])
    [recorded] = engine.generate_batch(xl_refined, [job], save_latents="all")
    assert np.array_equal(plain.pixels, recorded.pixels)
    names = [name for name in recorded.latents if name.startswith(("eps", "x0"))]
    assert len(names) == 20
    assert all(np.isfinite(recorded.latents[name]).all() for name in recorded.latents)


def test_a_batch_is_close_to_its_images_alone(xl_refined: Any) -> None:
    jobs = [refined_job(index=i, seed=i, prompt=p) for i, p in enumerate(("a cat", "a fish"))]
    for job, result in zip(jobs, engine.generate_batch(xl_refined, jobs), strict=True):
        [alone] = engine.generate_batch(xl_refined, [job])
        assert np.abs(alone.pixels.astype(int) - result.pixels).max() <= 1


def test_the_refiner_shares_the_vae_and_is_hashed(xl_refined: Any) -> None:
    assert xl_refined.refiner.pipeline.vae is xl_refined.pipeline.vae
    hashes = xl_refined.hashes.result()
    assert set(hashes) == {
        "unet", "vae", "text_encoder", "text_encoder_2", "refiner.unet", "refiner.text_encoder_2",
    }  # fmt: skip
    assert hashes["unet"] != hashes["refiner.unet"]


def test_another_vae_takes_over_the_rest(xl_refined: Any, base_folder: Path) -> None:
    from dataclasses import replace

    spec = replace(xl_refined.spec, vae=str(base_folder / "vae"))
    again = engine.load(spec, like=xl_refined)
    assert again.pipeline.unet is xl_refined.pipeline.unet
    assert again.refiner.pipeline.unet is xl_refined.refiner.pipeline.unet
    assert again.refiner.pipeline.vae is again.pipeline.vae is not xl_refined.pipeline.vae
    [ours] = engine.generate_batch(again, [refined_job()])
    [before] = engine.generate_batch(xl_refined, [refined_job()])
    assert np.array_equal(ours.pixels, before.pixels)


def test_a_refiner_alone_and_other_models_as_refiners_are_refused(
    base_folder: Path, refiner_folder: Path
) -> None:
    with pytest.raises(ModelError, match="only continues what another model began"):
        load(refiner_folder)
    with pytest.raises(ModelError, match="must be a Stable Diffusion XL model"):
        load(base_folder, refiner="embedded")
    with pytest.raises(ModelError, match="only Stable Diffusion XL takes a refiner"):
        generate(
            GenerationRequest(
                prompt="", spec=load_spec(model="embedded", refiner=str(refiner_folder))
            )
        )


def load_spec(**changes: Any) -> Any:
    from dataclasses import replace

    from tests.jobs import CPU

    return replace(CPU, **changes)


@pytest.mark.parametrize("name", ["unet", "text_encoder", "text_encoder_2"])
def test_weights_of_every_part_of_a_refiner_are_checked(self_refined: Any, name: str) -> None:
    parameter = next(getattr(self_refined.refiner.pipeline, name).parameters())
    kept = parameter.data.clone()
    parameter.data[0] = float("nan")
    try:
        error = self_refined.defective_weights_error()
    finally:
        parameter.data.copy_(kept)
    assert error.message.startswith(f"refiner.{name}: ")
    assert self_refined.defective_weights_error() is None
