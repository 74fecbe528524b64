"""Test what saved latents are rendered with, and at which scale."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.storage.latents.reader import read_latents_file
from sdcli.storage.latents.writer import SCHEMA
from sdcli.workflows.decode_latents import recorded_tiling, spec_for_latents
from sdcli.workflows.render_latents import (
    RendererOptions,
    choose_renderer,
    render_frames,
    render_grid,
)
from tests.storage.latents_files import rewrite, write_complete_file


@pytest.fixture
def file(tmp_path):
    return read_latents_file(write_complete_file(tmp_path))


def encoded_file(folder, **facts):
    path = folder / "e.latents.safetensors"
    metadata = {"schema": SCHEMA, "encoded": json.dumps({"image": "e.png", **facts})}
    path.write_bytes(save({"final": np.zeros((4, 8, 8), np.float32)}, metadata=metadata))
    return read_latents_file(path)


def test_the_spec_is_that_of_the_run_unless_options_say_otherwise(file):
    recorded = file.request.spec
    assert RendererOptions(device="cpu").pipeline_spec(file) == recorded
    assert RendererOptions(device="cpu", vae="tiny").pipeline_spec(file).vae == "tiny"
    other = RendererOptions(model="./other", offline=True).pipeline_spec(file)
    assert (other.model, other.vae, other.offline) == ("./other", None, True)


def test_latents_of_an_encoded_image_belong_to_the_vae_that_encoded_them(tmp_path):
    file = encoded_file(tmp_path, model="./mine", vae="tiny", dtype="float16")
    expected = PipelineSpec(model="./mine", vae="tiny", dtype="float16")
    assert RendererOptions().pipeline_spec(file) == expected
    assert spec_for_latents(file, {}) == expected
    assert spec_for_latents(file, {"vae": "own"}).vae == "own"
    assert spec_for_latents(file, {"model": "./other"}) == PipelineSpec(
        model="./other", dtype="float16"
    )


def test_vae_options_without_a_vae_are_refused(file):
    for options in (RendererOptions(force_vae=True), RendererOptions(tiling="on")):
        with pytest.raises(UsageError, match="without a VAE"):
            choose_renderer(file, options, print)


def test_noisy_latents_of_sigma_schedulers_are_scaled_to_unit_variance(tmp_path):
    path = write_complete_file(tmp_path)
    record = dict(read_latents_file(path).record)
    sigmas = [2.0, 1.5, 1.0, 0.5, 0.0]
    rewrite(path, record=json.dumps(record | {"sigmas": sigmas}))
    file = read_latents_file(path)
    assert np.array_equal(file.unit_variance("xt", 0), file.tensor_by_name("noise"))
    for step, sigma in enumerate(sigmas[1:], 1):
        expected = file.tensor("xt", step) / np.sqrt(1 + sigma**2)
        assert np.allclose(file.unit_variance("xt", step), expected)
        assert np.array_equal(file.unit_variance("x0", step), file.tensor("x0", step))


@pytest.mark.parametrize(
    ("scheduler", "image", "scaled"),
    [
        ("EulerDiscreteScheduler", "cat.png", (0, 1, 2, 3)),
        ("EulerDiscreteScheduler", None, (1, 2, 3)),
        ("DPMSolverMultistepScheduler", "cat.png", ()),
    ],
)
def test_a_run_from_an_image_is_scaled_by_its_scheduler(tmp_path, scheduler, image, scaled):
    """Its factor of the noise is 1 whatever the scheduler, and its noise is x_t itself."""
    path = write_complete_file(tmp_path)
    record = dict(read_latents_file(path).record)
    sigmas = [2.0, 1.5, 1.0, 0.5, 0.0]
    record |= {
        "sigmas": sigmas,
        "scheduler": {"class": scheduler, "config": {}},
        "request": {**record["request"], "image": image},
    }
    rewrite(path, record=json.dumps(record), init_noise_sigma="1.0")
    file = read_latents_file(path)
    for step, sigma in enumerate(sigmas):
        scale = np.sqrt(1 + sigma**2) if step in scaled else 1
        assert np.allclose(file.unit_variance("xt", step), file.tensor("xt", step) / scale)


def test_frames_and_grid_show_the_steps_in_order(file):
    def render(latents):
        return np.full((16, 16, 3), round(float(latents.flat[0])), np.uint8)

    frames = render_frames(file, "x0", [1, 3], render)
    assert [int(frame[0, 0, 0]) for frame in frames] == [
        int(file.tensor("x0", step).flat[0]) for step in (1, 3)
    ]
    sheet = render_grid(file, ["xt", "x0"], [1, 3], render)
    assert sheet.shape[0] > 2 * 16
    assert sheet.shape[1] > 2 * 16


@pytest.mark.parametrize(
    ("recorded", "expected"), [("on", "on"), ("off", "off"), (None, "auto"), (3, "auto")]
)
def test_an_unknown_tiling_is_auto(tmp_path, recorded, expected):
    from sdcli.storage.latents.reader import read_any_latents_file

    path = write_complete_file(tmp_path)
    rewrite(path, record=json.dumps({"request": {"vae_tiling": recorded}}))
    assert recorded_tiling(read_any_latents_file(path)) == expected
