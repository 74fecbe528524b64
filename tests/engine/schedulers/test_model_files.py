"""Whatever a model's scheduler file leaves out, the scheduler is the one that Diffusers builds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdcli import engine
from sdcli.catalog.schedulers.class_options import CONSTRUCTORS
from sdcli.catalog.schedulers.model_config import correct_config, merge_config
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.engine.runtime.diffusers_internals import visible_config
from sdcli.engine.schedulers.build import build_scheduler, load_scheduler
from tests.jobs import make_job

pytestmark = [
    pytest.mark.filterwarnings("ignore:The configuration file of th:FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

FILE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
}
OUTDATED: dict[str, dict[str, Any]] = {
    "complete": FILE,
    **{f"no {key}": {k: v for k, v in FILE.items() if k != key} for key in FILE},
    "offset 0": {**FILE, "steps_offset": 0},
    "clipped": {**FILE, "clip_sample": True},
    "empty": {},
}
# The pictures of these are compared, too: their timesteps and configurations say it of the others.
DRAWN = ("no steps_offset", "no clip_sample", "offset 0", "clipped")


def both(plain: Any, folder: Path, class_name: str, file: dict[str, Any]) -> tuple[Any, Any]:
    """Return two pipelines on a scheduler file: that of Diffusers, and one as sdcli builds it."""
    path = folder / "scheduler" / "scheduler_config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**file, "_class_name": class_name}))
    theirs = getattr(diffusers, class_name).from_pretrained(folder, subfolder="scheduler")
    pipelines = [
        StableDiffusionPipeline(
            **{**plain.components, "scheduler": scheduler}, requires_safety_checker=False
        )
        for scheduler in (theirs, load_scheduler(folder))
    ]
    for pipeline in pipelines:
        pipeline.set_progress_bar_config(disable=True)
    return pipelines[0], pipelines[1]


def named(pipeline: Any, class_name: str | None) -> Any:
    """Return the scheduler that a Diffusers user gets for a class name; None is the model's."""
    own = pipeline.scheduler
    scheduler = getattr(diffusers, class_name).from_config(own.config) if class_name else own
    if "noise_sampler_seed" in scheduler.config:
        scheduler.noise_sampler_seed = [7]
    return scheduler


@pytest.mark.sample(30)
@pytest.mark.parametrize("file", OUTDATED)
@pytest.mark.parametrize("class_name", CONSTRUCTORS)
def test_the_scheduler_and_its_configuration_are_those_of_diffusers(
    plain: Any, tmp_path: Path, class_name: str, file: str
) -> None:
    theirs, ours = both(plain, tmp_path, class_name, OUTDATED[file])
    for name in (None, class_name, "DDIMScheduler", "EulerDiscreteScheduler"):
        expected = named(theirs, name)
        before = dict(expected.config)
        expected.set_timesteps(4)
        choice = SchedulerConfig(class_name=name)
        built = build_scheduler(ours.scheduler, choice, steps=4, seeds=[7])
        assert type(built) is type(expected)
        assert torch.equal(built.timesteps, expected.timesteps)
        own, other = ({**visible_config(s.config)} for s in (built, expected))
        assert own | {"noise_sampler_seed": 0} == other | {"noise_sampler_seed": 0}
        # Planning knows the same configuration without torch.
        corrected = correct_config(OUTDATED[file])
        merged = merge_config(name or class_name, corrected, is_models_own=name is None)
        # Setting the timesteps changes the configuration of some classes.
        config = {key: before[key] for key in merged}
        assert merged == {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}


@pytest.mark.sample(4)
@pytest.mark.parametrize("file", DRAWN)
@pytest.mark.parametrize("class_name", ["PNDMScheduler", "DDIMScheduler", "HeunDiscreteScheduler"])
def test_the_picture_is_that_of_diffusers(
    loaded: Any, plain: Any, tmp_path: Path, class_name: str, file: str
) -> None:
    theirs, ours = both(plain, tmp_path, class_name, OUTDATED[file])
    for name in (None, "DDIMScheduler"):
        job = make_job(scheduler=SchedulerConfig(class_name=name), num_inference_steps=2)
        theirs.scheduler = named(theirs, name)
        [picture] = theirs(
            job.prompt,
            height=job.height,
            width=job.width,
            num_inference_steps=2,
            guidance_scale=job.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(job.seed),
        ).images
        [result] = engine.generate_batch(replace(loaded, base_scheduler=ours.scheduler), [job])
        assert np.array_equal(result.pixels, np.asarray(picture))
