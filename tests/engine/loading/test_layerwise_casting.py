"""Weights of 8 bits: equal to Diffusers' layerwise casting by hand, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdcli import engine
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import UsageError
from sdcli.planning.weights_dtype_check import weights_dtype_faults
from tests.engine.input_jobs import by_hand
from tests.jobs import CPU, make_job

SPEC = replace(CPU, weights_dtype="fp8")
JOB = make_job(spec=SPEC, num_inference_steps=2)


@pytest.fixture(scope="module")
def stored() -> Any:
    return engine.load(SPEC)


def test_the_image_is_that_of_diffusers(stored: Any, loaded: Any) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32
    )
    [result] = engine.generate_batch(stored, [JOB])
    assert np.array_equal(result.pixels, np.asarray(by_hand(pipeline, replace(JOB, spec=CPU))))
    [full] = engine.generate_batch(loaded, [replace(JOB, spec=CPU)])
    assert not np.array_equal(result.pixels, full.pixels)


def test_the_weights_take_a_quarter_of_those_of_float32(stored: Any, loaded: Any) -> None:
    sizes = [
        sum(p.nbytes for p in pipeline.pipeline.unet.parameters()) for pipeline in (stored, loaded)
    ]
    assert sizes[0] < 0.35 * sizes[1]
    assert stored.defective_weights_error() is None


def test_it_is_another_job_and_recorded() -> None:
    assert JOB.id != replace(JOB, spec=CPU).id
    assert JOB.to_request(dtype="float32").spec.weights_dtype == "fp8"


def test_a_lora_is_refused() -> None:
    assert list(weights_dtype_faults(JOB)) == []
    [error] = weights_dtype_faults(replace(JOB, lora=f"{Path('a.safetensors')}:1"))
    assert isinstance(error, UsageError)
    assert list(weights_dtype_faults(replace(JOB, spec=CPU, lora="a.safetensors:1"))) == []
