"""Test the workflows that compare, measure, blend, noise and resume saved latents."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.storage.latents.reader import read_latents_file
from sdcli.workflows.blend_latents import LatentsBlend
from sdcli.workflows.compare_latents import compare_latents, describe_comparison, format_timesteps
from sdcli.workflows.measure_trajectory import measure_trajectory
from sdcli.workflows.noise_image import noise_timesteps
from sdcli.workflows.render_latents import RendererOptions
from sdcli.workflows.resume_latents import branch_warning, resumed_request
from tests.storage.latents_files import ALL, rewrite, write_complete_file


def make_file(folder, name, tensors=None, **record):
    (folder / name).mkdir()
    path = write_complete_file(folder / name)
    facts = {**read_latents_file(path).record, **record}
    rewrite(path, tensors, record=json.dumps(facts))
    return read_latents_file(path)


def constants(**changes):
    """Tensors of a complete file of which each is one constant."""
    values = dict.fromkeys(ALL.tensor_names(4), 1.0) | changes
    return {name: np.full((4, 8, 8), value, np.float32) for name, value in values.items()}


def test_a_run_does_not_part_from_itself(tmp_path):
    file = make_file(tmp_path, "a")
    comparison = compare_latents(file, file, "xt")
    assert [d.step for d in comparison.distances] == [0, 1, 2, 3, 4]
    assert all((d.rmse, d.relative, d.cosine) == (0, 0, 1) for d in comparison.distances)
    assert (comparison.parting, comparison.first_difference) == (None, None)
    assert describe_comparison(comparison) == ["identical at every step that both runs have"]


def test_runs_part_where_their_distance_exceeds_five_percent(tmp_path):
    first = make_file(tmp_path, "a", constants())
    second = make_file(tmp_path, "b", constants(xt_0002=1.01, xt_0003=2.0))
    comparison = compare_latents(first, second, "xt")
    assert (comparison.first_difference, comparison.parting) == (2, 3)
    assert asdict(comparison.distances[3])["relative"] == pytest.approx(0.5)
    [sentence] = describe_comparison(comparison)
    assert "at step 2" in sentence
    assert "from step 3 on" in sentence


def test_runs_at_other_timesteps_are_noted(tmp_path):
    first = make_file(tmp_path, "a")
    second = make_file(tmp_path, "b", timesteps=[900.0, 501.0, 251.0, 1.0])
    comparison = compare_latents(first, second, "x0")
    assert not comparison.have_equal_timesteps
    assert "different timesteps" in describe_comparison(comparison)[-1]


def test_runs_of_other_shapes_or_without_a_common_step_are_refused(tmp_path):
    small = {name: array[:, :4] for name, array in constants().items()}
    first, second = make_file(tmp_path, "a"), make_file(tmp_path, "b", small)
    with pytest.raises(UsageError) as caught:
        compare_latents(first, second, "xt")
    assert caught.value.code == "latents.shape"
    with pytest.raises(UsageError, match="has latents of"):
        LatentsBlend(first, second, RendererOptions(), slerp=False)
    other = make_file(tmp_path, "c", {"final": np.ones((4, 8, 8), np.float32)})
    with pytest.raises(UsageError, match="no step of x0 in common"):
        compare_latents(first, other, "x0")


@pytest.mark.parametrize(
    ("timesteps", "text"),
    [((999.0, 999.4), "999"), ((999.0, 500.0), "999 | 500"), ((None, None), "")],
)
def test_equal_timesteps_are_shown_once(timesteps, text):
    assert format_timesteps(timesteps) == text


def test_a_straight_trajectory_has_no_angles(tmp_path):
    values = {"noise": 4.0, **{f"xt_{step:04d}": 4.0 - step for step in range(1, 4)}, "final": 0.0}
    file = make_file(tmp_path, "a", constants(**values))
    document = measure_trajectory(str(file.path), print)
    assert document["straightness"] == pytest.approx(1)
    assert [row["step"] for row in document["steps"]] == [0, 1, 2, 3, 4]
    angles = [row["angle"] for row in document["steps"]]
    assert (angles[0], angles[-1]) == (None, None)
    assert document["steps"][-1]["distance"] == 0
    assert document["steps"][2]["x0_distance"] == pytest.approx(1)


def test_two_steps_are_no_trajectory(tmp_path):
    one = np.ones((4, 8, 8), np.float32)
    file = make_file(tmp_path, "a", {"noise": one, "final": 2 * one})
    with pytest.raises(UsageError, match="2 steps are too few"):
        measure_trajectory(str(file.path), print)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_noise_timesteps_rise_evenly_from_zero(last, steps):
    if not min(1, last) <= steps <= last:
        with pytest.raises(UsageError):
            noise_timesteps(last, steps)
        return
    timesteps = noise_timesteps(last, steps)
    assert (timesteps[0], timesteps[-1], len(timesteps)) == (0, last, steps + 1)
    gaps = {b - a for a, b in pairwise(timesteps)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert 0 not in gaps


@pytest.mark.parametrize("last", [-1, 1001])
def test_timesteps_outside_of_the_training_are_refused(last):
    with pytest.raises(UsageError, match="not between 0 and 1000"):
        noise_timesteps(last, None)


def test_a_request_is_resumed_with_the_changes_that_are_set():
    recorded = GenerationRequest(prompt="a cat", spec=PipelineSpec(vae="tiny"), guidance_scale=7.0)
    same = {"prompt": None, "guidance_scale": None}
    assert resumed_request(recorded, same, {"vae": None, "offline": False}) == recorded
    changed = resumed_request(recorded, {"guidance_scale": 0.0}, {"offline": True})
    assert changed.guidance_scale == 0.0
    assert (changed.spec.vae, changed.spec.offline) == ("tiny", True)


def test_resuming_before_an_earlier_branch_is_warned_of(tmp_path):
    event = "steps up to 3 are those of x.latents.safetensors, with prompt 'a dog'"
    file = make_file(tmp_path, "a", events=["the prompt was cut", event])
    assert "the first 3 steps" in (branch_warning(file, 2) or "")
    assert branch_warning(file, 3) is None
    assert branch_warning(make_file(tmp_path, "b"), 0) is None
