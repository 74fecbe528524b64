"""Test the comparison of schedulers on the embedded model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.workflows.compare_schedulers import (
    REFERENCE_SCHEDULER,
    SchedulerComparison,
    SchedulerRun,
    compare_schedulers,
)

TEMPLATE = GenerationRequest(
    prompt="a cat", spec=PipelineSpec(device="cpu"), width=64, height=64, seed=7
)


def run(**changes: object) -> SchedulerRun:
    facts = {"scheduler": "DDIM", "stochastic": False, "steps": 4, "unet_calls": 4, "psnr": 30.0}
    return SchedulerRun(**facts | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, True), ({"psnr": 29.9}, False), ({"psnr": None}, True)],
)
def test_a_run_is_converged_at_thirty_decibels(changes: dict, expected: bool) -> None:
    assert run(**changes).is_converged is expected
    error = UsageError("x", code="x")
    assert not run(**changes, error=error).is_converged


def test_the_fastest_run_has_the_fewest_calls_and_then_the_smallest_error() -> None:
    runs = (
        run(unet_calls=2, psnr=20.0),
        run(unet_calls=8, latent_rmse=0.1),
        run(unet_calls=4, latent_rmse=0.3),
        run(unet_calls=4, latent_rmse=0.2),
    )
    facts = {"prompt": "", "seed": 0, "reference_steps": 50, "reference": run()}
    assert SchedulerComparison(runs=runs, **facts).fastest is runs[3]
    assert SchedulerComparison(runs=runs[:1], **facts).fastest is None


def test_the_reference_converges_to_itself() -> None:
    comparison = compare_schedulers(TEMPLATE, [REFERENCE_SCHEDULER], [2, 4], reference_steps=4)
    assert [row.steps for row in comparison.runs] == [2, 4]
    assert (comparison.seed, comparison.prompt) == (7, "a cat")
    near = comparison.runs[1]
    assert (near.psnr, near.latent_rmse) == (None, 0.0)
    assert near.is_converged


def test_two_names_of_one_scheduler_are_refused() -> None:
    with pytest.raises(UsageError, match="are both") as caught:
        compare_schedulers(TEMPLATE, ["DDIM", "ddim"], [2], reference_steps=4)
    assert caught.value.code == "usage.schedulers"


def test_short_names_are_those_of_the_model(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "timestep_spacing": "trailing"}))
    spec = PipelineSpec(model=str(folder), device="cpu")
    template = replace(TEMPLATE, spec=spec)
    names = ["Euler", "Euler Normal", "DPM++ 2M Normal"]
    comparison = compare_schedulers(template, names, [2], reference_steps=2)
    # On this model, a bare name keeps the trailing timesteps of the model's own file.
    assert [run.scheduler for run in comparison.runs] == names
    bare, normal, _ = comparison.runs
    assert not np.array_equal(bare.pixels, normal.pixels)
