"""`schedulers list`, `show` and `compare` through the real `main()`."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.errors import ExitCode
from sdcli.numerics.metrics import psnr
from tests.test_startup import HEAVY, probe

PROMPT = "a cat and a guitar on a blue background"


@pytest.mark.parametrize("verb", ["list", "show", "compare"])
def test_every_verb_has_help_with_examples(run_cli, verb):
    ran = run_cli("schedulers", verb, "--help")
    assert ran.code == 0
    assert f"    sdcli schedulers {verb}" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80


@pytest.mark.parametrize("argv", [["list"], ["show", "Euler Karras"], ["list", "--json"]])
def test_the_catalogue_needs_no_torch(argv, tmp_path):
    code, modules = probe("schedulers", *argv, cwd=tmp_path)
    assert code == 0
    assert not HEAVY & modules
    assert "numpy" not in modules


def test_list_has_a_line_for_every_row(run_cli):
    lines = run_cli("schedulers", "list").stdout.splitlines()
    for row, line in zip(SAMPLERS, lines[1:], strict=False):
        assert line.startswith(row.name)
        assert row.class_name.removesuffix("Scheduler") in line
        assert line.split()[-1] == ("latents" if row.resumes_from_latents else "all")
    assert lines[len(SAMPLERS) + 1 :][:2] == ["", "schedules"]


def test_list_tells_schedules_notes_packages_and_most_steps(run_cli):
    out = " ".join(run_cli("schedulers", "list").stdout.split())
    for row in SAMPLERS:
        assert ", ".join(row.schedules) in out
        assert row.note in out
    assert "DPM++ SDE: needs torchsde" in out
    assert "LCM: at most 50 steps; for models distilled for it" in out
    assert "notes" not in run_cli("schedulers", "list", "heun").stdout.splitlines()


@pytest.mark.parametrize(
    "argv", [["list"], *(["show", row.name] for row in SAMPLERS)], ids=lambda argv: argv[-1]
)
def test_what_is_shown_fits_the_terminal(run_cli, monkeypatch, argv):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, run_cli("schedulers", *argv).stdout.splitlines())) <= 80


def test_words_under_the_columns_are_wrapped_as_the_terminal_is_wide(run_cli, monkeypatch):
    for columns in (40, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run_cli("schedulers", "show", "UniPC").stdout.splitlines()
        widest = max(len(line) for line in lines if line.startswith("  "))
        assert columns - 30 < widest <= columns


def test_list_searches_notes(run_cli):
    def names(*words):
        rows = run_cli("schedulers", "list", *words, "--json").document["schedulers"]
        return [row["name"] for row in rows]

    assert names("distilled") == ["LCM", "TCD"]
    assert names("lcm", "distilled") == ["LCM"]
    assert names("hundreds") == ["DDPM"]
    assert names("bh1") == ["UniPC"]


def test_list_filters_by_words(run_cli):
    ran = run_cli("schedulers", "list", "Karras", "stochastic", "--json").document
    assert ran["schema"] == "sdcli/schedulers/1"
    names = {row["name"] for row in ran["schedulers"]}
    assert names == {row.name for row in SAMPLERS if row.stochastic and "Karras" in row.schedules}
    by_name = {row["name"]: row for row in ran["schedulers"]}
    assert by_name["DPM++ SDE"]["remembers"]
    assert not by_name["DPM++ SDE"]["resumes_from_latents"]
    assert by_name["DPM++ SDE"]["package"] == "torchsde"
    assert by_name["DPM2 a"]["unet_calls"] == "2N-1"


def test_list_of_nothing_is_an_error(run_cli):
    ran = run_cli("schedulers", "list", "quux")
    assert ran.code == ExitCode.USAGE
    assert "no scheduler matches all of: quux" in ran.stderr


def test_show_tells_every_option(run_cli):
    out = run_cli("schedulers", "show", "dpmpp_2m_k;solver_order=3").stdout
    assert "scheduler: DPM++ 2M Karras;solver_order=3" in out
    assert "Automatic is: Karras" in out
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("solver_order"))
    assert lines[at].split()[1:3] == ["3", "2"]
    assert lines[at + 1] == "    solver order (an integer from 1 to 3)"
    assert "timestep by" not in out


def test_show_as_json(run_cli):
    document = run_cli("schedulers", "show", "DDIM", "--json").document
    assert document["schema"] == "sdcli/scheduler/1"
    assert document["steps"] is document["schedule"] is None
    options = {row["name"]: row for row in document["options"]}
    assert options["steps_offset"]["set"] == 1
    assert options["steps_offset"]["default"] == 0
    assert options["thresholding"]["set"] is None
    assert options["trained_betas"]["fixed"]


def test_show_with_steps_is_what_diffusers_does(run_cli):
    from diffusers import EulerDiscreteScheduler

    run = run_cli("schedulers", "show", "Euler Karras", "--steps", "6", "--json")
    calls = run.document["schedule"]
    theirs = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True
    )
    theirs.set_timesteps(6)
    assert [c["timestep"] for c in calls] == pytest.approx(theirs.timesteps.tolist())
    assert [c["sigma"] for c in calls] == pytest.approx(theirs.sigmas[:-1].tolist())
    assert run.document["last_sigma"] == theirs.sigmas[-1] == 0
    out = run_cli("schedulers", "show", "Euler Karras", "--steps", "6").stdout
    assert re.search(r"\n *- +- +0\.0000\n", out)
    assert "sigma by UNet call (log), and 0 at the end" in out
    assert out.count("*") == 12


def test_the_last_sigma_is_drawn_where_noise_is_left(run_cli):
    out = run_cli("schedulers", "show", "DDIM", "--steps", "6").stdout
    assert "sigma by UNet call (log), and 0.02917 at the end" in out
    assert out.count("*") == 13


def test_pure_noise_is_null_in_json_and_inf_in_the_table(run_cli):
    argv = ("schedulers", "show", "DDIM SGM Uniform;rescale_betas_zero_snr=1", "--steps", "4")
    ran = run_cli(*argv, "--json")
    assert "Infinity" not in ran.stdout
    assert [call["sigma"] is None for call in ran.document["schedule"]] == [True, *[False] * 3]
    assert "inf\n" in run_cli(*argv).stdout


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS])
def test_show_of_every_row_has_as_many_calls_as_promised(run_cli, name):
    row = next(row for row in SAMPLERS if row.name == name)
    calls = run_cli("schedulers", "show", name, "--steps", "5", "--json").document["schedule"]
    assert len(calls) == row.unet_calls(5)
    assert all(call["sigma"] > 0 for call in calls)
    if name != "PLMS":  # which asks twice at its second timestep
        sigmas = [call["sigma"] for call in calls]
        assert all(later < earlier * 1.0001 for earlier, later in pairwise(sigmas))


@pytest.mark.parametrize(
    ("name", "steps", "told"),
    [
        ("LCM", "51", "LCM takes 1 to 50, not 51"),
        ("LCM;original_inference_steps=10", "20", "takes 1 to 10, not 20"),
    ],
)
def test_show_refuses_too_many_steps(run_cli, name, steps, told):
    ran = run_cli("schedulers", "show", name, "--steps", steps)
    assert ran.code == ExitCode.USAGE
    assert told in ran.stderr


def test_show_tells_what_the_options_decide(run_cli):
    plain = run_cli("schedulers", "show", "DPM++ 2M SDE;algorithm_type=dpmsolver++").stdout
    assert "adds noise: none" in plain
    assert "resumes from: --save-latents all" in plain
    ddim = run_cli("schedulers", "show", "DDIM").stdout
    assert "resumes from: the latents of any step at an eta of 0" in ddim
    assert "order: 3" in run_cli("schedulers", "show", "dpmpp_2m_k;solver_order=3").stdout
    argv = ("schedulers", "show", "LCM;original_inference_steps=100", "--steps", "60", "--json")
    document = run_cli(*argv).document
    assert document["max_steps"] == 100
    assert len(document["schedule"]) == 60


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One small comparison, its document, its table and its grid."""
    from contextlib import redirect_stdout
    from io import StringIO

    from sdcli.cli import main

    grid = tmp_path_factory.mktemp("grid") / "grid.png"
    argv = ["schedulers", "compare", PROMPT, "--schedulers", "ddim,heun,euler a", "--seed", "7"]
    argv += ["--steps", "8,2", "--reference-steps", "24", "--size", "64x64", "-q"]
    outs = []
    for extra in (["--json"], ["--force"]):
        with redirect_stdout(StringIO()) as out:
            assert main([*argv, "-o", str(grid), *extra]) == 0
        outs.append(out.getvalue())
    return json.loads(outs[0]), outs[1], grid


def test_compare_measures_against_the_reference(compared):
    document, _, grid = compared
    assert document["schema"] == "sdcli/comparison/1"
    assert document["grid"] == str(grid)
    runs = {(run["scheduler"], run["steps"]): run for run in document["runs"]}
    assert list(runs) == [(s, n) for s in ("DDIM", "Heun", "Euler a") for n in (2, 8)]
    assert runs["Heun", 8]["unet_calls"] == 15
    assert runs["Heun", 8]["latent_rmse"] < runs["Heun", 2]["latent_rmse"]
    assert runs["DDIM", 8]["psnr_db"] > runs["DDIM", 2]["psnr_db"]
    assert [runs[s, 8]["stochastic"] for s in ("DDIM", "Euler a")] == [False, True]
    assert document["reference"]["latent_rmse"] == 0
    assert document["reference"]["psnr_db"] is None


def test_the_fastest_is_the_converged_run_of_the_fewest_calls(compared):
    document, table, _ = compared
    converged = [run for run in document["runs"] if run["converged"]]
    if document["fastest"]:
        calls = {(r["scheduler"], r["steps"]): r["unet_calls"] for r in converged}
        fastest = document["fastest"]
        assert calls[fastest["scheduler"], fastest["steps"]] == min(calls.values())
        name = shlex.quote(fastest["scheduler"])
        assert f"use -s {name} --steps {fastest['steps']}: " in table
    else:
        assert not converged
        assert "none reached 30 dB PSNR: the nearest is -s " in table.replace("\n  ", " ")


def test_a_verdict_shows_what_is_missing_to_the_target(run_cli):
    argv = ("schedulers", "compare", PROMPT, "--schedulers", "ddim", "--steps", "2")
    size = ("--size", "64x64", "--seed", "7", "--reference-steps", "4", "-o", "near.png")
    psnr = run_cli(*argv, *size, "--json").document["runs"][0]["psnr_db"]
    target = f"{psnr + 0.4:.2f}"
    ran = run_cli(*argv, *size, "--target-psnr", target, "--force")
    shown = (
        f"none reached {float(target):g} dB PSNR: the nearest is -s DDIM --steps 2 at {psnr:.1f} dB"
    )
    assert shown in ran.stdout.replace("\n  ", " ")


def test_compare_draws_a_grid_and_a_table(compared):
    _, table, grid = compared
    with Image.open(grid) as image:
        assert image.width > 2 * 64
        assert image.height > 4 * 64
        assert np.asarray(image).std() > 10
    lines = table.splitlines()
    assert lines[0].split()[:2] == ["scheduler", "steps"]
    assert len([line for line in lines if line.startswith(("DDIM", "Heun", "Euler a *"))]) == 6
    assert f"grid: {grid}" in lines


def test_a_cell_of_the_grid_is_the_image_that_generate_makes(compared, run_cli):
    _, _, grid = compared
    ran = run_cli(
        *("generate", PROMPT, "-s", "heun", "--steps", "8", "--seed", "7"),
        *("--size", "64x64", "-o", "one.png"),
    )
    assert ran.code == 0
    with Image.open(grid) as sheet, Image.open(ran.paths[0]) as one:
        pixels, cell = np.asarray(sheet), np.asarray(one)
    starts = np.argwhere((pixels == cell[0, 0]).all(-1))
    assert any(np.array_equal(pixels[y : y + 64, x : x + 64], cell) for y, x in starts)


def test_the_verdict_can_be_typed_and_holds(run_cli, tmp_path):
    compare = ("schedulers", "compare", PROMPT, "--schedulers", "ddim,DPM++ 2M", "--steps", "1,4")
    size = ("--size", "64x64", "--seed", "7", "-q")
    argv = (*compare, "--reference-steps", "12", *size, "--target-psnr", "15")
    table = run_cli(*argv, "-o", "one.png").stdout
    [verdict] = [line for line in table.splitlines() if line.startswith("use ")]
    options, _, similarity = verdict.removeprefix("use ").partition(": ")
    pixels = []
    for typed, out in ((options, "fast.png"), ("-s 'DPM++ 2M' --steps 12", "reference.png")):
        assert run_cli("generate", PROMPT, *shlex.split(typed), *size, "-o", out).code == 0
        pixels.append(np.asarray(Image.open(out)))
    assert similarity == f"{psnr(*pixels):.0f} dB to the converged picture"
    assert psnr(*pixels) >= 15


def test_the_fewest_calls_are_searched_for_and_told(run_cli):
    compare = ("schedulers", "compare", PROMPT, "--schedulers", "ddim,heun", "--steps", "6")
    argv = ("--reference-steps", "12", "--size", "64x64", "--seed", "7", "-q")
    document = run_cli(*compare, *argv, "--target-psnr", "15", "--json").document
    assert document["target_psnr_db"] == 15
    fewest = {row["scheduler"]: row["run"] for row in document["fewest"]}
    assert list(fewest) == ["DDIM", "Heun"]
    best = fewest["DDIM"]
    assert best["psnr_db"] >= 15
    assert best["steps"] < 6
    assert document["fastest"] == {"scheduler": "DDIM", "steps": best["steps"]}
    assert document["verdict"].startswith(f"use -s DDIM --steps {best['steps']}: ")


def test_prompts_of_a_file_and_several_seeds_are_one_comparison(run_cli, tmp_path):
    (tmp_path / "p.jsonl").write_text(
        '{"prompt": "a dog", "seed": 3}\n{"prompt": "a fish", "guidance": 2}\n'
    )
    document = run_cli(
        *("schedulers", "compare", "a cat", "--prompts", "p.jsonl", "--count", "2", "--seed", "7"),
        *("--schedulers", "ddim", "--steps", "1,2", "--reference-steps", "3", "--size", "64x64"),
        *("-q", "--json", "-o", "sheet.png"),
    ).document
    expected = [
        ("a cat", 7),
        ("a cat", 8),
        ("a dog", 3),
        ("a dog", 4),
        ("a fish", 7),
        ("a fish", 8),
    ]
    for run in (*document["runs"], document["reference"]):
        assert [(image["prompt"], image["seed"]) for image in run["images"]] == expected
    for run in document["runs"]:
        values = [image["psnr_db"] for image in run["images"]]
        assert run["psnr_db"] == pytest.approx(np.mean(values))
        assert run["psnr_sd_db"] == pytest.approx(np.std(values, ddof=1))
        errors = [image["latent_rmse"] for image in run["images"]]
        assert run["latent_rmse_sd"] == pytest.approx(np.std(errors, ddof=1))
    assert (document["prompt"], document["seed"]) == ("a cat", 7)


def test_a_prompt_file_may_not_set_what_the_comparison_varies(run_cli, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a dog", "steps": 3}\n')
    ran = run_cli("schedulers", "compare", "--prompts", "p.jsonl", "--steps", "1")
    assert ran.code == ExitCode.USAGE
    assert "'a dog' sets its own steps" in ran.stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--target-psnr", "0"], "--target-psnr"),
        (["--count", "0"], "--count"),
        (["--scale", "17"], "--scale"),
        (["--columns", "0"], "--columns"),
        (["--prompts", "absent.txt"], "absent.txt"),
        (["--schedulers", "ddim,eulr"], "unknown scheduler 'eulr'"),
        (["--schedulers", "ddim,DDIM"], "are both DDIM"),
        (["--schedulers", ","], "no names given"),
        (["--steps", "4,x"], "comma-separated integers from 1 to 1000"),
        (["--schedulers", "lcm", "--steps", "60"], "more than the 50 that LCM supports"),
        (["-o", "-"], "stdout is used for the table"),
        (["--reference-steps", "0"], "--reference-steps"),
    ],
)
def test_compare_refuses_before_it_draws(run_cli, tmp_path, argv, message):
    ran = run_cli("schedulers", "compare", PROMPT, *argv)
    assert ran.code == ExitCode.USAGE
    assert message in ran.stderr
    assert not list(tmp_path.glob("**/*.png"))


def test_compare_needs_a_prompt(run_cli):
    ran = run_cli("schedulers", "compare")
    assert ran.code == ExitCode.USAGE
    assert "no prompt to compare" in ran.stderr


def test_compare_keeps_what_failed_as_a_hole(run_cli, monkeypatch):
    from sdcli.engine.denoise import generate
    from sdcli.errors import NumericsError

    whole = generate._check_finite

    def failing(latents, loaded):
        if type(loaded.pipeline.scheduler).__name__ == "HeunDiscreteScheduler":
            raise NumericsError("UNet: the latents are not finite", code="numerics.unet")
        whole(latents, loaded)

    monkeypatch.setattr(generate, "_check_finite", failing)
    argv = ("--schedulers", "ddim,heun", "--steps", "1", "--reference-steps", "2")
    ran = run_cli("schedulers", "compare", PROMPT, *argv, "--size", "64x64")
    assert ran.code == ExitCode.PARTIAL
    assert "failed" in ran.stdout
    assert "Heun, 1 steps: UNet: the latents are not finite" in ran.stdout


def test_show_says_whether_the_name_the_model_or_the_class_decides(run_cli):
    run = run_cli("schedulers", "show", "Euler", "--model", "embedded", "--json")
    origins = {row["name"]: (row["value"], row["from"]) for row in run.document["options"]}
    assert origins["timestep_spacing"] == ("linspace", "name")
    assert origins["prediction_type"] == ("v_prediction", "model")
    assert origins["interpolation_type"] == ("linear", "default")
    text = run_cli("schedulers", "show", "Euler", "--model", "embedded").stdout
    assert "from" in text.splitlines()[text.splitlines().index("") + 1]
