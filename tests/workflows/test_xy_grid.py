"""Test that the images of a sweep are sorted into grids by their settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli.errors import UsageError
from sdcli.prompts.expansion import RequestTemplate
from sdcli.row import Row
from sdcli.run_flags import ExpansionFlags, SheetFlags
from sdcli.runner.options import RunOptions
from sdcli.workflows.xy_grid import XYGrids, parse_grid_axes
from tests.jobs import make_result

SWEEP = RequestTemplate(flags={"num_inference_steps": (10, 20), "scheduler": ("DDIM", "Euler")})


def write(grids: XYGrids, out: Path, **options: bool) -> list[Path]:
    run_options = RunOptions(out=str(out), expected_images=None, **options)  # type: ignore[arg-type]
    return [Path(path) for path in grids.write(run_options)]


def contains(sheet: np.ndarray, cell: np.ndarray) -> bool:
    height, width = cell.shape[:2]
    starts = np.argwhere((sheet == cell[0, 0]).all(-1))
    return any(np.array_equal(sheet[y : y + height, x : x + width], cell) for y, x in starts)


def test_axes_are_the_canonical_names_of_swept_settings() -> None:
    assert parse_grid_axes("steps", SWEEP, 1, json=False) == ("num_inference_steps",)
    axes = parse_grid_axes("sampler,steps", SWEEP, 1, json=False)
    assert axes == ("scheduler", "num_inference_steps")
    assert parse_grid_axes("prompt,steps", SWEEP, 2, json=False)[0] == "prompt"


@pytest.mark.parametrize("text", ["steps,steps", "steps,scheduler,prompt", "guidance", "prompt"])
def test_axes_without_several_values_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_grid_axes(text, SWEEP, 1, json=False)
    assert caught.value.code == "usage.grid"


def test_a_document_ends_before_its_grids(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--json"):
        parse_grid_axes("steps", SWEEP, 1, json=True)


def test_one_grid_shows_all_values_of_both_axes(tmp_path: Path) -> None:
    grids = XYGrids(axes=("num_inference_steps", "guidance_scale"))
    noise, results = np.random.default_rng(0), []
    for steps, scale in [(10, 1.0), (20, 1.0), (10, 7.5)]:
        pixels = noise.integers(0, 200, (64, 64, 3), np.uint8)  # no white, unlike the background
        results.append(make_result(num_inference_steps=steps, guidance_scale=scale, pixels=pixels))
    for result in results:
        grids.add(result)
    [path] = write(grids, tmp_path)
    assert path.name == "0001-grid-a-cat-and-a-guitar-on-a-blue-background-7.png"
    sheet = np.asarray(Image.open(path))
    assert all(contains(sheet, result.pixels) for result in results)


def test_other_settings_are_other_grids(tmp_path: Path) -> None:
    grids = XYGrids(axes=("num_inference_steps",))
    for seed in (1, 2):
        for steps in (10, 20):
            grids.add(make_result(seed=seed, num_inference_steps=steps))
    assert len(write(grids, tmp_path)) == 2


def test_settings_that_follow_from_the_axis_are_no_other_grid(tmp_path: Path) -> None:
    grids = XYGrids(axes=("lora",))
    for line in (1, 2):
        for seed in (1, 2):
            row = Row(file="rows.csv", line=line, varied=("lora", "seed"))
            shared = {"prompt": f"line {line}", "seed": seed, "row": row}
            grids.add(make_result(lora=None, num_inference_steps=20, **shared))
            grids.add(make_result(lora="fast", num_inference_steps=4, **shared))
    assert len(write(grids, tmp_path)) == 4


def test_rows_with_other_settings_are_other_grids(tmp_path: Path) -> None:
    grids = XYGrids(axes=("lora",))
    for line, steps in ((1, 8), (2, 20)):
        for lora in (None, "style"):
            row = Row(file="rows.csv", line=line, varied=("lora",))
            grids.add(make_result(lora=lora, num_inference_steps=steps, row=row))
    assert len(write(grids, tmp_path)) == 2


def test_the_place_in_the_run_is_no_setting(tmp_path: Path) -> None:
    grids = XYGrids(axes=("seed",))
    for index in range(3):
        grids.add(make_result(index=index, seed=index))
    assert len(write(grids, tmp_path)) == 1


def test_labels_are_words(tmp_path: Path) -> None:
    grids = XYGrids(axes=("guidance_every", "num_inference_steps"))
    assert grids._label(0, 2) == "guidance every 2"
    assert grids._label(1, 8) == "steps 8"


def test_a_grid_of_a_batch_replaces_its_earlier_version(tmp_path: Path) -> None:
    names = []
    for seeds in ((1,), (1, 2)):
        grids = XYGrids(axes=("seed",))
        for seed in seeds:
            grids.add(make_result(seed=seed))
        names += [path.name for path in write(grids, tmp_path, journal=True)]
    assert len(set(names)) == 1
    assert len(list(tmp_path.glob("grid-*.png"))) == 1


def test_pixels_are_loaded_when_the_grid_is_written(tmp_path: Path) -> None:
    grids, loaded = XYGrids(axes=("seed",)), []
    result = make_result()

    def load() -> np.ndarray:
        loaded.append(True)
        return result.pixels

    grids.add_lazy(result.job, load)
    assert not loaded
    write(grids, tmp_path)
    assert loaded


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (("num_inference_steps",), "a prompt · seed 7"),
        (("seed",), "a prompt"),
        (("seed", "prompt"), ""),
        (("prompt",), "seed 7"),
    ],
)
def test_the_title_tells_what_the_axes_do_not(axes: tuple[str, ...], expected: str) -> None:
    job = make_result(prompt="a prompt", seed=7).job
    assert XYGrids(axes=axes)._title(job) == expected


def test_a_grid_is_scaled_and_divided(tmp_path: Path) -> None:
    sizes = []
    for sheet in (SheetFlags(), SheetFlags(scale=2), SheetFlags(columns=2)):
        grids = XYGrids(axes=("seed",), sheet=sheet)
        for seed in range(4):
            grids.add(make_result(seed=seed))
        [path] = write(grids, tmp_path)
        with Image.open(path) as image:
            sizes.append(image.size)
    (width, height), (wide, high), (narrow, tall) = sizes
    assert wide - width >= 4 * 64
    assert high - height >= 64
    assert narrow == width - 2 * (64 + 4)
    assert tall > height + 64


@pytest.mark.parametrize("option", [{"grid_scale": 2}, {"grid_columns": 3}])
def test_the_form_of_no_grid_is_refused(option: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="has no effect without --grid"):
        ExpansionFlags(**option).sheet()  # type: ignore[arg-type]
    assert ExpansionFlags(grid="steps", **option).sheet() != SheetFlags()  # type: ignore[arg-type]
    assert ExpansionFlags().sheet() == SheetFlags()
