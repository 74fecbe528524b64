"""Run the benchmark scenarios: startup, one image, a batch, and the cost of observing a run."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from sdcli.bench.baselines import BATCH, SINGLE_IMAGE
from sdcli.bench.measure import (
    BenchCommand,
    Timing,
    installed_script,
    measure,
    python_command,
    sdcli_command,
)
from sdcli.bench.random_model import full_size_model
from sdcli.bench.single_file import LOAD_WITH_DIFFUSERS, LOAD_WITH_SDCLI, SAVE_SINGLE_FILE
from sdcli.catalog.schedulers.resolve import model_scheduler, resolve_scheduler
from sdcli.checkpoints.model_defaults import ModelDefaults, read_defaults

PROMPT: Final = "a cat and a guitar on a blue background"
SEED: Final = 7
SCRIPT_BATCH_SIZE: Final = 8

# Both sides run on the same device in the same precision, so that their pixels can be compared.
EXACT: Final = ("--seed", str(SEED), "--dtype", "float32", "--device", "cpu")

Document = dict[str, Any]


def time_startup(rounds: int) -> Document:
    """Time commands that need no model, against importing typer, which all of them do."""
    with tempfile.TemporaryDirectory() as folder:
        image = f"{folder}/star.png"
        subprocess.run(
            sdcli_command("generate", "a red star", "--steps", "1", "--out", image),
            capture_output=True,
            check=True,
        )
        commands = [
            BenchCommand(
                name="python -c 'import typer'", argv=python_command("-c", "import typer")
            ),
            BenchCommand(name="sdcli --help", argv=sdcli_command("--help")),
            BenchCommand(name="sdcli --version", argv=sdcli_command("--version")),
            BenchCommand(
                name="sdcli generate, mistyped",
                argv=sdcli_command("generate", "--stpes"),
                exit_code=2,
            ),
            BenchCommand(name="sdcli inspect", argv=sdcli_command("inspect", image)),
        ]
        return to_document("start", measure(commands, rounds=rounds), {})


def time_single_image(folder: Path, model: str, rounds: int) -> Document:
    """Time one image, from starting the process to the finished file.

    `folder` is the local folder of `model`.
    """
    with tempfile.TemporaryDirectory() as out:
        argv = ["generate", PROMPT, "--model", model, *EXACT]
        # --force: every round writes the same file.
        argv += ["--force", "--json", "--out", f"{out}/sdcli.png"]
        commands = [
            plain_script(folder, out),
            BenchCommand(name="sdcli generate", argv=sdcli_command(*argv)),
        ]
        if script := installed_script("diffusers-cli"):
            args = _script_arguments(folder, read_defaults(folder))
            commands.append(_diffusers_cli(script, args, out))
        timings = measure(commands, rounds=rounds)
    plain, ours = (json.loads(timing.stdout[-1]) for timing in timings[:2])
    image = ours["images"][0]
    phases = {"plain Diffusers script": plain["seconds"], "sdcli generate": image["seconds"]}
    return to_document("one", timings, phases) | {
        "same_pixels": plain["pixels_sha256"] == [image["pixels_sha256"]],
    }


def plain_script(folder: Path, out: str, **changes: object) -> BenchCommand:
    """Return the command that draws one image of the model in `folder` without sdcli.

    `changes` are those of the arguments of the script.
    """
    args = _script_arguments(folder, read_defaults(folder)) | changes
    args |= {"prompt": PROMPT, "out": f"{out}/plain.png"}
    return BenchCommand(name="plain Diffusers script", argv=_script_command(SINGLE_IMAGE, args))


def time_batch(folder: Path, model: str, prompts: Sequence[str], rounds: int) -> Document:
    """Time one image for each prompt in a single process, one by one and in batches.

    `folder` is the local folder of `model`.
    """
    with tempfile.TemporaryDirectory() as out:
        args = _script_arguments(folder, read_defaults(folder))
        args |= {"prompts": list(prompts), "out": out}
        timings = measure(
            [*_script_batches(args), *_sdcli_batches(model, prompts, out)], rounds=rounds
        )
    plain, _, exact, *_ = (json.loads(timing.stdout[-1]) for timing in timings)
    digests = [image["pixels_sha256"] for image in exact["images"]]
    return to_document("batch", timings, {}) | {
        "prompts": len(prompts),
        "same_pixels": plain["pixels_sha256"] == digests,
    }


def _script_batches(args: Document) -> list[BenchCommand]:
    return [
        BenchCommand(name=name, argv=_script_command(BATCH, args | {"batch_size": size}))
        for name, size in (
            ("plain script, one by one", 1),
            (f"plain script, batches of {SCRIPT_BATCH_SIZE}", SCRIPT_BATCH_SIZE),
        )
    ]


def _sdcli_batches(model: str, prompts: Sequence[str], out: str) -> list[BenchCommand]:
    text = "".join(f"{prompt}\n" for prompt in prompts)
    file = Path(out, "prompts.txt")
    file.write_text(text, "utf-8")
    shared = ["--model", model, *EXACT, "--json", "--out", out]
    # --redo: without it, the second round would find every image done.
    batch = sdcli_command("batch", str(file), *shared, "--redo", "--quiet")
    return [
        *(
            BenchCommand(
                name=f"sdcli generate -{suffix}",
                argv=sdcli_command("generate", "-", *shared, "--batch-size", size),
                stdin=text,
            )
            for suffix, size in (("", "1"), (" --batch-size auto", "auto"))
        ),
        BenchCommand(name="sdcli batch", argv=batch),
    ]


def time_saving_latents(rounds: int) -> Document:
    """Time saving the latents of every step, with a model of the size of Stable Diffusion 1.5."""
    with full_size_model() as (folder, model):
        argv = ["--model", model, "--steps", "4", "--out", f"{folder}/out"]
        return _compare_options("dump", argv, ["--save-latents", "all"], rounds)


def time_loading(rounds: int) -> Document:
    """Time loading a single file of the size of Stable Diffusion 1.5, and measure the memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.safetensors"
        made = subprocess.run(
            _script_command(SAVE_SINGLE_FILE, {"out": file}), capture_output=True, check=True
        )
        args = {"file": file, **json.loads(made.stdout)}
        scripts = {"from_single_file": LOAD_WITH_DIFFUSERS, "sdcli": LOAD_WITH_SDCLI}
        commands = [
            BenchCommand(
                name=f"{name}, {dtype}", argv=_script_command(script, {**args, "dtype": dtype})
            )
            for dtype in ("float16", "float32")
            for name, script in scripts.items()
        ]
        return describe_loading(measure(commands, rounds=rounds))


def describe_loading(timings: Sequence[Timing]) -> Document:
    """Return the document of timings whose commands take turns in pairs, Diffusers first."""
    runs = [[json.loads(text) for text in timing.stdout] for timing in timings]
    phases = {
        timing.name: {key: round(median(run[key] for run in own), 3) for key in own[0]}
        for timing, own in zip(timings, runs, strict=True)
    }
    plain, ours = list(phases.values())[::2], list(phases.values())[1::2]
    ratios = {
        f"{key}_ratio": [round(b[key] / a[key], 3) for a, b in zip(plain, ours, strict=True)]
        for key in plain[0]
    }
    return to_document("load", timings, phases) | ratios


def time_preview(rounds: int) -> Document:
    """Time forty images of the embedded model with and without a preview file."""
    with tempfile.TemporaryDirectory() as folder:
        argv = ["--count", "40", "--out", f"{folder}/out"]
        return _compare_options("preview", argv, ["--preview-out", f"{folder}/now.png"], rounds)


def _compare_options(
    scenario: str, argv: Sequence[str], options: Sequence[str], rounds: int
) -> Document:
    """Time the same images without and with `options`, and compare their denoising time."""
    argv = ["generate", PROMPT, *EXACT, "--json", "--force", *argv]
    commands = [
        BenchCommand(name="sdcli generate", argv=sdcli_command(*argv)),
        BenchCommand(name=f"sdcli generate {options[0]}", argv=sdcli_command(*argv, *options)),
    ]
    timings = measure(commands, rounds=rounds)
    phases = {
        timing.name: {"denoise": median(map(_denoising_seconds, timing.stdout))}
        for timing in timings
    }
    without, with_options = (phases[timing.name]["denoise"] for timing in timings)
    # Saving and previewing must not change the images.
    digests = {tuple(_digests(text)) for timing in timings for text in timing.stdout}
    return to_document(scenario, timings, phases) | {
        "denoise_ratio": round(with_options / without, 4),
        "same_pixels": len(digests) == 1,
    }


def _denoising_seconds(stdout: str) -> float:
    return sum(float(image["seconds"]["denoise"]) for image in json.loads(stdout)["images"])


def _digests(stdout: str) -> list[str]:
    return [str(image["pixels_sha256"]) for image in json.loads(stdout)["images"]]


def shape_prompts(count: int) -> list[str]:
    """Return up to `count` (at most 450) different prompts that the embedded model can draw."""
    colors = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black")
    shapes = ("star", "heart", "circle", "square", "triangle")
    prompts = [
        f"a {color} {shape} on a {background} background"
        for background in (*colors, "white", "gray")
        for shape in shapes
        for color in colors
        if color != background
    ]
    return prompts[:count]


def _script_arguments(folder: Path, defaults: ModelDefaults) -> Document:
    """Return the arguments for a plain script to draw what sdcli draws."""
    name, file = defaults.scheduler, defaults.scheduler_config
    own = model_scheduler(defaults.scheduler_class, file)
    choice = (resolve_scheduler(name, file) if name else own).choice
    return {
        "model": str(folder),
        "scheduler_class": choice.class_name or defaults.scheduler_class,
        "scheduler_config": dict(choice.config),
        "steps": defaults.num_inference_steps,
        "guidance": defaults.guidance_scale,
        "width": defaults.width,
        "height": defaults.height,
        "seed": SEED,
    }


def _script_command(script: str, args: Mapping[str, object]) -> list[str]:
    return python_command("-c", script, json.dumps(args))


def _diffusers_cli(script: str, args: Document, out: str) -> BenchCommand:
    # It runs the scheduler in the model's files, so its pixels are not compared.
    keywords = {
        "prompt": PROMPT,
        "num_inference_steps": args["steps"],
        "guidance_scale": args["guidance"],
    }
    argv = [script, "run", "-m", args["model"], "--dtype", "float32", "--device-map", "cpu"]
    argv += ["--pipeline-kwargs", json.dumps(keywords), "--output", f"{out}/diffusers-cli.png"]
    return BenchCommand(name="diffusers-cli run", argv=argv)


def to_document(scenario: str, timings: Sequence[Timing], phases: Mapping[str, object]) -> Document:
    """Return the result as JSON. Ratios are relative to the first command.

    `phases` maps names of commands to their seconds by phase.
    """
    return {
        "schema": f"sdcli/bench-{scenario}/1",
        "rounds": len(timings[0].seconds),
        "contestants": [
            {
                "name": timing.name,
                "median_seconds": round(timing.median, 3),
                "ratio": round(timing.ratio(timings[0]), 3),
                "seconds": [round(value, 3) for value in timing.seconds],
                "split": phases.get(timing.name),
            }
            for timing in timings
        ],
    }
