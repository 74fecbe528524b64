"""Timings of earlier runs in the user's cache folder, whatever is in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdcli.inputs.paths import cache_folder
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from sdcli.storage.jobs import user_timings
from sdcli.storage.jobs.user_timings import RunTimings, UserTimings, read_timings
from tests.jobs import make_job


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sdcli" / "timings.json"


def remember(job: Job, *seconds: float, device: str = "cpu") -> None:
    run = RunTimings()
    for each in seconds:
        run.add(job, device, each)
    run.save()


def test_a_kind_of_job_takes_the_median_of_its_last_run(cache: Path) -> None:
    job = make_job(fingerprint="ab")
    assert UserTimings().seconds(job) is None
    remember(job, 1.0)
    remember(job, 9.0, 2.0, 3.0)
    assert UserTimings().seconds(job) == 3.0
    assert len(list(read_timings())) == 1
    assert [path.name for path in cache.parent.iterdir()] == ["timings.json"]


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"num_inference_steps": 8}, 4.0),
        ({"guidance_scale": 1.0}, 1.0),
        ({"scheduler_label": "Euler", "seed": 3, "prompt": "a dog"}, 2.0),
        ({"width": 128}, None),
        ({"fingerprint": "cd"}, None),
        ({"spec": PipelineSpec(device="cuda")}, None),
    ],
)
def test_jobs_of_the_same_model_size_and_device_take_as_long_as_their_calls(
    changes: dict[str, Any], seconds: float | None
) -> None:
    remember(make_job(fingerprint="ab"), 2.0)
    assert UserTimings().seconds(make_job(**{"fingerprint": "ab", **changes})) == seconds


def test_an_automatic_device_is_the_one_that_it_was_before() -> None:
    auto = make_job(spec=PipelineSpec(device="auto"), fingerprint="ab")
    remember(auto, 2.0, device="cuda")
    for device, seconds in (("auto", 2.0), ("cuda", 2.0), ("cpu", None)):
        job = make_job(spec=PipelineSpec(device=device), fingerprint="ab")
        assert UserTimings().seconds(job) == seconds


def test_another_machine_with_the_same_home_folder_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remember(make_job(), 2.0)
    monkeypatch.setattr(user_timings.platform, "node", lambda: "other")
    assert UserTimings().seconds(make_job()) is None


def test_the_file_stays_small(cache: Path) -> None:
    for size in range(0, 520, 104):
        run = RunTimings()
        for width in range(size, size + 104):
            run.add(make_job(width=8 * width + 8), "cpu", 1.0)
        run.save()
    timings = list(read_timings())
    assert (len(timings), timings[-1].width, timings[0].width) == (500, 8 * 520, 8 * 21)
    assert cache.stat().st_size < 1_000_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({"timings": inner})
    | st.fixed_dictionaries(dict.fromkeys(
        ("host", "model", "width", "height", "devices", "scheduler", "unet_calls", "seconds"),
        inner)),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_a_file_of_any_content_is_harmless(data: bytes) -> None:
    path = cache_folder() / "timings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    UserTimings().seconds(make_job())
    remember(make_job(), 2.0)
    assert UserTimings().seconds(make_job()) == 2.0


def test_a_folder_that_cannot_be_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember(make_job(), 2.0)
    assert UserTimings().seconds(make_job()) is None
