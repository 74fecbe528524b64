"""Jobs: their ids, and which of them share a batch or a timing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from tests.jobs import CPU, make_job


def test_the_id_is_the_one_that_version_0_1_0_wrote() -> None:
    assert make_job().id == "99baa5e255e9216ea2706a5401b6c77b"
    assert make_job(fingerprint="ab" * 32, clip_skip=2).id == "6e0c14fed6c0a6251fc43a27dd0f4a2e"


@pytest.mark.parametrize(
    "changes",
    [
        {"index": 9},
        {"occurrence": 2},
        {"scheduler_label": "DDIM"},
        {"spec": replace(CPU, device="cuda", offline=True)},
    ],
)
def test_the_id_does_not_depend_on_how_and_when_a_job_runs(changes: dict[str, Any]) -> None:
    assert make_job(**changes).id == make_job().id


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a dog"},
        {"seed": 8},
        {"num_inference_steps": 5},
        {"guidance_scale": 2.5},
        {"vae_tiling": "on"},
        {"fingerprint": "ab" * 32},
        {"scheduler": SchedulerConfig(class_name="DDIMScheduler", config=(("eta", 1.0),))},
        {"spec": replace(CPU, dtype="float16")},
        {"spec": replace(CPU, model="other")},
    ],
)
def test_the_id_depends_on_everything_that_decides_the_pixels(changes: dict[str, Any]) -> None:
    assert make_job(**changes).id != make_job().id


def test_the_later_files_of_a_spec_do_not_stand_for_each_other() -> None:
    names = ("refiner", "model_config", "text_encoder", "refiner_config")
    ids = {make_job(spec=replace(CPU, **{name: "a/b"})).id for name in names}
    assert len(ids) == len(names)


def test_a_model_with_a_known_fingerprint_may_be_moved() -> None:
    known = {"fingerprint": "ab" * 32}
    moved = PipelineSpec(model="elsewhere", device="cpu", dtype="float32")
    assert make_job(spec=moved, **known).id == make_job(**known).id


def test_the_id_is_computed_once_and_is_not_a_field() -> None:
    job = make_job()
    assert job.id is job.id
    assert job == make_job()
    assert replace(job, prompt="a dog").id != job.id
    assert "id" not in job.field_values()
    assert Job(**job.field_values()) == job


def test_prompts_and_seeds_may_differ_in_a_batch_and_sizes_may_not() -> None:
    first = make_job()
    assert first.batch_key == make_job(index=3, prompt="a dog", seed=9, occurrence=1).batch_key
    assert first.batch_key != make_job(width=128).batch_key
    assert first.batch_key != make_job(spec=replace(CPU, vae="tiny")).batch_key


def test_guidance_counts_for_the_time_only_as_on_or_off() -> None:
    assert make_job(guidance_scale=2).timing_key == make_job(guidance_scale=7).timing_key
    assert make_job(guidance_scale=1).timing_key != make_job(guidance_scale=7).timing_key
