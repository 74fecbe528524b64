"""The races: a command without a model, one picture from cold, many, and what a dump costs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from sdcli.bench.baselines import FULL_SIZE, MANY, ONE
from sdcli.bench.measure import BenchCommand, Timing, installed_script, measure, python, sdcli
from sdcli.catalog.schedulers.resolve import model_scheduler, resolve_scheduler
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, ModelDefaults, read_defaults

PROMPT: Final = "a cat and a guitar on a blue background"
SEED: Final = 7
HAND_BATCH: Final = 8

Document = dict[str, Any]


def start(rounds: int) -> Document:
    """Commands that need no model, beside an import of typer, which all of them need."""
    with tempfile.TemporaryDirectory() as out:
        picture = f"{out}/star.png"
        subprocess.run(
            sdcli("generate", "a red star", "--steps", "1", "--out", picture),
            capture_output=True,
            check=True,
        )
        contestants = [
            BenchCommand(name="python -c 'import typer'", argv=python("-c", "import typer")),
            BenchCommand(name="sdcli --help", argv=sdcli("--help")),
            BenchCommand(name="sdcli --version", argv=sdcli("--version")),
            BenchCommand(
                name="sdcli generate, mistyped", argv=sdcli("generate", "--stpes"), exit_code=2
            ),
            BenchCommand(name="sdcli inspect", argv=sdcli("inspect", picture)),
        ]
        return _document("start", measure(contestants, rounds=rounds), {})


def one(folder: Path, model: str, rounds: int) -> Document:
    """One picture, from the shell's prompt to the file, each time in a new process."""
    with tempfile.TemporaryDirectory() as out:
        defaults = read_defaults(folder)
        ask = _ask(folder, defaults) | {"prompt": PROMPT, "out": f"{out}/plain.png"}
        draw = ["generate", PROMPT, "--model", model, "--seed", str(SEED), "--dtype", "float32"]
        draw += ["--device", "cpu", "--force", "--json", "--out", f"{out}/sdcli.png"]
        contestants = [
            BenchCommand(name="plain Diffusers script", argv=_script(ONE, ask)),
            BenchCommand(name="sdcli generate", argv=sdcli(*draw)),
        ]
        if command := installed_script("diffusers-cli"):
            contestants.append(_diffusers_cli(command, ask, out))
        timings = measure(contestants, rounds=rounds)
    plain, ours = (json.loads(timing.stdout[-1]) for timing in timings[:2])
    image = ours["images"][0]
    seconds = {"plain Diffusers script": plain["seconds"], "sdcli generate": image["seconds"]}
    return _document("one", timings, seconds) | {
        "same_pixels": plain["pixels_sha256"] == [image["pixels_sha256"]],
    }


def batch(folder: Path, model: str, prompts: Sequence[str], rounds: int) -> Document:
    """A picture a prompt, in one process each: a loop, batches by hand, and sdcli's pipe."""
    with tempfile.TemporaryDirectory() as out:
        ask = _ask(folder, read_defaults(folder)) | {"prompts": list(prompts), "out": out}
        pipe = ["generate", "-", "--model", model, "--seed", str(SEED), "--dtype", "float32"]
        pipe += ["--device", "cpu", "--json", "--out", out, "--batch-size"]
        text = "".join(f"{prompt}\n" for prompt in prompts)
        file = Path(out, "prompts.txt")
        file.write_text(text, "utf-8")
        resumable = ["batch", str(file), *pipe[2:-1], "--redo", "--quiet"]
        contestants = [
            BenchCommand(
                name="plain script, one by one", argv=_script(MANY, ask | {"batch_size": 1})
            ),
            BenchCommand(
                name=f"plain script, batches of {HAND_BATCH}",
                argv=_script(MANY, ask | {"batch_size": HAND_BATCH}),
            ),
            BenchCommand(name="sdcli generate -", argv=sdcli(*pipe, "1"), stdin=text),
            BenchCommand(
                name="sdcli generate - --batch-size auto", argv=sdcli(*pipe, "auto"), stdin=text
            ),
            BenchCommand(name="sdcli batch", argv=sdcli(*resumable)),
        ]
        timings = measure(contestants, rounds=rounds)
    plain, _, exact, *_ = (json.loads(timing.stdout[-1]) for timing in timings)
    digests = [image["pixels_sha256"] for image in exact["images"]]
    return _document("batch", timings, {}) | {
        "prompts": len(prompts),
        "same_pixels": plain["pixels_sha256"] == digests,
    }


def dump(rounds: int) -> Document:
    """The latents of every step, written while a model of SD 1.5's size draws, and without."""
    with tempfile.TemporaryDirectory() as folder:
        ask = {"out": f"{folder}/model", "tokenizer": str(EMBEDDED_FOLDER / "tokenizer")}
        subprocess.run(_script(FULL_SIZE, ask), capture_output=True, check=True)
        draw = ["--model", ask["out"], "--steps", "4", "--out", f"{folder}/out"]
        return _with_and_without("dump", draw, ["--save-latents", "all"], rounds)


def preview(rounds: int) -> Document:
    """Forty pictures of the embedded model, each seen while it forms, and unseen."""
    with tempfile.TemporaryDirectory() as folder:
        draw = ["--count", "40", "--out", f"{folder}/out"]
        return _with_and_without("preview", draw, ["--preview-out", f"{folder}/now.png"], rounds)


def _with_and_without(race: str, draw: Sequence[str], more: Sequence[str], rounds: int) -> Document:
    """The same pictures without and with some options, and how much longer denoising took."""
    argv = ["generate", PROMPT, "--seed", str(SEED), "--device", "cpu", "--dtype", "float32"]
    argv += ["--json", "--force", *draw]
    contestants = [
        BenchCommand(name="sdcli generate", argv=sdcli(*argv)),
        BenchCommand(name=f"sdcli generate {more[0]}", argv=sdcli(*argv, *more)),
    ]
    timings = measure(contestants, rounds=rounds)
    split = {t.name: {"denoise": median(map(_denoising, t.stdout))} for t in timings}
    without, with_it = (split[timing.name]["denoise"] for timing in timings)
    return _document(race, timings, split) | {
        "denoise_ratio": round(with_it / without, 4),
        "same_pixels": len({tuple(_digests(text)) for t in timings for text in t.stdout}) == 1,
    }


def _denoising(stdout: str) -> float:
    return sum(float(image["seconds"]["denoise"]) for image in json.loads(stdout)["images"])


def _digests(stdout: str) -> list[str]:
    return [str(image["pixels_sha256"]) for image in json.loads(stdout)["images"]]


def prompts_of_shapes(count: int) -> list[str]:
    """The first of 450 prompts that the embedded model can draw."""
    colors = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black")
    shapes = ("star", "heart", "circle", "square", "triangle")
    made = [
        f"a {color} {shape} on a {ground} background"
        for ground in (*colors, "white", "gray")
        for shape in shapes
        for color in colors
        if color != ground
    ]
    return made[:count]


def _ask(folder: Path, defaults: ModelDefaults) -> Document:
    """What a script must be told to draw as sdcli does."""
    name = defaults.scheduler
    choice = (resolve_scheduler(name) if name else model_scheduler(defaults.scheduler_class)).choice
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


def _script(text: str, ask: Mapping[str, object]) -> list[str]:
    return python("-c", text, json.dumps(ask))


def _diffusers_cli(command: str, ask: Document, out: str) -> BenchCommand:
    keywords = {
        "prompt": PROMPT,
        "num_inference_steps": ask["steps"],
        "guidance_scale": ask["guidance"],
    }
    argv = [command, "run", "-m", ask["model"], "--dtype", "float32", "--device-map", "cpu"]
    argv += ["--pipeline-kwargs", json.dumps(keywords), "--output", f"{out}/diffusers-cli.png"]
    return BenchCommand(name="diffusers-cli run", argv=argv)


def _document(race: str, timings: Sequence[Timing], split: Mapping[str, object]) -> Document:
    """What was measured; ratios are to the first, round by round."""
    return {
        "schema": f"sdcli/bench-{race}/1",
        "rounds": len(timings[0].seconds),
        "contestants": [
            {
                "name": timing.name,
                "median_seconds": round(timing.median, 3),
                "ratio": round(timing.ratio(timings[0]), 3),
                "seconds": [round(value, 3) for value in timing.seconds],
                "split": split.get(timing.name),
            }
            for timing in timings
        ],
    }
