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
from sdcli.run_flags import SheetFlags
from sdcli.runner.loop import generate
from sdcli.workflows.compare_schedulers import (
    REFERENCE_SCHEDULER,
    ProgressCallbacks,
    compare_schedulers,
)
from sdcli.workflows.comparison_sheet import draw_comparison
from sdcli.workflows.scheduler_comparison import (
    ImageDistance,
    SchedulerComparison,
    SchedulerRun,
)

TEMPLATE = GenerationRequest(
    prompt="a cat", spec=PipelineSpec(device="cpu"), width=64, height=64, seed=7
)


def image(**changes: object) -> ImageDistance:
    facts = {"prompt": "a cat", "seed": 7, "seconds": 1.0, "latent_rmse": 0.1, "psnr": 30.0}
    return ImageDistance(**facts | changes)  # type: ignore[arg-type]


def run(*images: ImageDistance, **changes: object) -> SchedulerRun:
    facts = {"scheduler": "DDIM", "stochastic": False, "steps": 4, "unet_calls": 4}
    return SchedulerRun(images=images or (image(),), **facts | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("psnr", "expected"), [(30.0, True), (29.9, False), (None, True)])
def test_a_run_reaches_its_target_or_is_identical(psnr: float | None, expected: bool) -> None:
    assert run(image(psnr=psnr)).reaches(30) is expected
    error = UsageError("x", code="x")
    assert not run(image(psnr=psnr), image(psnr=None, error=error)).reaches(30)


def test_means_and_spreads_are_of_all_images() -> None:
    several = run(image(psnr=20.0, latent_rmse=0.2), image(psnr=30.0, latent_rmse=0.4))
    assert several.psnr == pytest.approx(25)
    assert several.psnr_spread == pytest.approx(np.std([20, 30], ddof=1))
    assert several.latent_rmse == pytest.approx(0.3)
    assert several.latent_rmse_spread == pytest.approx(np.std([0.2, 0.4], ddof=1))
    single = run(image(psnr=20.0))
    assert (single.psnr, single.psnr_spread) == (20, None)


def test_identical_images_are_left_out_of_the_mean() -> None:
    assert run(image(psnr=None), image(psnr=20.0)).psnr == 20
    assert run(image(psnr=None)).psnr is None


def test_the_fastest_run_has_the_fewest_calls_and_then_the_smallest_error() -> None:
    runs = (
        run(image(psnr=20.0), unet_calls=2),
        run(unet_calls=8),
        run(image(latent_rmse=0.3), unet_calls=4),
        run(image(latent_rmse=0.2), unet_calls=4),
    )
    assert SchedulerComparison(runs=runs, reference=run()).fastest is runs[3]
    assert SchedulerComparison(runs=runs[:1], reference=run()).fastest is None
    searched = run(unet_calls=3)
    comparison = SchedulerComparison(runs=runs, reference=run(), fewest=(("DDIM", searched),))
    assert comparison.fastest is searched


def test_the_reference_converges_to_itself() -> None:
    comparison = compare_schedulers([TEMPLATE], [REFERENCE_SCHEDULER], [2, 4], reference_steps=4)
    assert [row.steps for row in comparison.runs] == [2, 4]
    assert (comparison.seed, comparison.prompt) == (7, "a cat")
    near = comparison.runs[1]
    assert (near.psnr, near.latent_rmse) == (None, 0.0)
    assert near.reaches(30)


def test_several_prompts_and_seeds_are_measured_like_each_alone() -> None:
    templates = [replace(TEMPLATE, count=2), replace(TEMPLATE, prompt="a dog", seed=3)]
    made = []
    callbacks = ProgressCallbacks(on_image=lambda: made.append(1))
    together = compare_schedulers(templates, ["DDIM"], [2], reference_steps=4, callbacks=callbacks)
    assert len(made) == 2 * 3
    [several] = together.runs
    assert [(i.prompt, i.seed) for i in several.images] == [
        ("a cat", 7),
        ("a cat", 8),
        ("a dog", 3),
    ]
    alone = [
        compare_schedulers([replace(TEMPLATE, prompt=i.prompt, seed=i.seed)], ["DDIM"], [2],
                           reference_steps=4).runs[0]
        for i in several.images
    ]  # fmt: skip
    assert [i.psnr for i in several.images] == [one.psnr for one in alone]
    assert [i.latent_rmse for i in several.images] == [one.latent_rmse for one in alone]
    [drawn] = generate(replace(TEMPLATE, scheduler="DDIM", num_inference_steps=2))
    assert several.pixels is not None
    assert np.array_equal(several.pixels, drawn.pixels)


def test_the_reference_computes_every_step_in_full() -> None:
    whole, draft = (
        compare_schedulers([template], ["DDIM"], [6], reference_steps=6)
        for template in (TEMPLATE, replace(TEMPLATE, draft=True))
    )
    assert np.array_equal(whole.reference.pixels, draft.reference.pixels)
    assert whole.runs[0].psnr != draft.runs[0].psnr


def test_templates_without_a_seed_share_one() -> None:
    templates = [replace(TEMPLATE, seed=None), replace(TEMPLATE, seed=None, prompt="a dog")]
    comparison = compare_schedulers(templates, ["DDIM"], [1], reference_steps=2)
    assert len({i.seed for i in comparison.runs[0].images}) == 1


def test_the_fewest_steps_are_those_that_a_full_search_finds() -> None:
    every = compare_schedulers([TEMPLATE], ["DDIM"], list(range(1, 9)), reference_steps=24)
    values = [row.psnr for row in every.runs]
    target = sorted(v for v in values if v is not None)[4]
    expected = next(row.steps for row in every.runs if row.reaches(target))
    found = compare_schedulers([TEMPLATE], ["DDIM"], [8], reference_steps=24, target=target)
    [(name, best)] = found.fewest
    assert name == "DDIM"
    assert best is not None
    assert best.reaches(target)
    assert best.steps == expected
    hopeless = compare_schedulers([TEMPLATE], ["DDIM"], [1], reference_steps=24, target=90)
    assert hopeless.fewest == (("DDIM", None),)


def test_two_names_of_one_scheduler_are_refused() -> None:
    with pytest.raises(UsageError, match="are both") as caught:
        compare_schedulers([TEMPLATE], ["DDIM", "ddim"], [2], reference_steps=4)
    assert caught.value.code == "usage.schedulers"


def test_short_names_are_those_of_the_model(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "timestep_spacing": "trailing"}))
    spec = PipelineSpec(model=str(folder), device="cpu")
    template = replace(TEMPLATE, spec=spec)
    names = ["Euler", "Euler Normal", "DPM++ 2M Normal"]
    comparison = compare_schedulers([template], names, [2], reference_steps=2)
    # On this model, a bare name keeps the trailing timesteps of the model's own file.
    assert [run.scheduler for run in comparison.runs] == names
    bare, normal, _ = comparison.runs
    assert not np.array_equal(bare.pixels, normal.pixels)


def test_a_scheduler_is_judged_with_the_configuration_of_the_model(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))
    file = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text()) | {"_class_name": "DPMSolverMultistepScheduler"}
    file.write_text(json.dumps(config | {"algorithm_type": "sde-dpmsolver++"}))
    template = replace(TEMPLATE, spec=PipelineSpec(model=str(folder), device="cpu"))
    names = ["DPMSolverMultistepScheduler", "DDIM"]
    comparison = compare_schedulers([template], names, [2], reference_steps=2)
    assert [run.stochastic for run in comparison.runs] == [True, False]


@pytest.mark.parametrize(("name", "value"), [("scheduler", "DDIM"), ("num_inference_steps", 3)])
def test_a_prompt_with_its_own_scheduler_or_steps_is_refused(name: str, value: object) -> None:
    template = replace(TEMPLATE, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="sets its own") as caught:
        compare_schedulers([template], ["DDIM"], [2], reference_steps=4)
    assert caught.value.code == f"usage.{name}"


def contains(sheet: np.ndarray, cell: np.ndarray) -> int:
    height, width = cell.shape[:2]
    starts = np.argwhere((sheet == cell[0, 0]).all(-1))
    return sum(np.array_equal(sheet[y : y + height, x : x + width], cell) for y, x in starts)


def test_the_sheet_has_the_reference_in_a_column_of_its_own_and_a_chart() -> None:
    noise = np.random.default_rng(0)
    pixels = [noise.integers(0, 200, (64, 64, 3), np.uint8) for _ in range(5)]
    names = ("DDIM", "Euler")
    runs = tuple(
        run(scheduler=name, steps=n, unet_calls=n, pixels=pixels[2 * row + column])
        for row, name in enumerate(names)
        for column, n in enumerate((2, 4))
    )
    comparison = SchedulerComparison(runs=runs, reference=run(pixels=pixels[4]))
    lines = {name: [(2.0, 20.0, 1.0), (4.0, 30.0, 0.0)] for name in names}
    sheet = draw_comparison(comparison, lines, SheetFlags())
    assert [contains(sheet, cell) for cell in pixels] == [1, 1, 1, 1, len(names)]
    bare = draw_comparison(comparison, {name: [] for name in names}, SheetFlags())
    assert [contains(bare, cell) for cell in pixels] == [1, 1, 1, 1, len(names)]
    assert sheet.size > bare.size
    colours = {tuple(int(v) for v in pixel) for pixel in sheet.reshape(-1, 3)[::7]}
    assert {(0, 114, 178), (213, 94, 0)} <= colours  # the lines of the chart
