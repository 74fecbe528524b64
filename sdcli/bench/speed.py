"""Time steps and images on a GPU or another device, beside a plain script and published figures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from statistics import median
from typing import Any, Final

from sdcli.bench.backends import DRAWING
from sdcli.bench.measure import BenchCommand, Timing, measure, python_command
from sdcli.bench.peak_memory import RUN_SDCLI, USAGE
from sdcli.bench.random_model import RANDOM_MODELS, model_or_random
from sdcli.bench.scenarios import PROMPT, SEED, Document, to_document
from sdcli.pipeline_spec import EMBEDDED

STEPS: Final = (10, 30)
GUIDANCE: Final = 7.5
SIDES: Final = {"sd15": 512, "sdxl": 1024}
PUBLISHED: Final = {"Diffusers": 31, "Diffusers, compiled": 47, "stable-fast": 55, "TensorRT": 61}
"""Published iterations per second of Stable Diffusion 1.5 at 512x512 on an A100."""

_PLAIN: Final = (
    USAGE
    + """
args = json.loads(sys.argv[1])
import torch
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(args["model"], dtype=getattr(torch, args["dtype"]))
pipe.to(args["device"])
pipe.set_progress_bar_config(disable=True)
draw = []
for steps in args["steps"]:
    # The first of two images includes preparations.
    for _ in range(2):
        started = time.perf_counter()
        pipe(
            args["prompt"], num_inference_steps=steps, guidance_scale=args["guidance"],
            width=args["side"], height=args["side"],
            generator=torch.Generator().manual_seed(args["seed"]),
        )
        seconds = time.perf_counter() - started
    draw.append(seconds)
print(json.dumps({"draw": draw, **usage(args["device"])}))
"""
)


def time_speed(model: str, device: str, rounds: int) -> Document:
    """Time images of a model on a device, and those of both random models in place of EMBEDDED."""
    # The embedded model is too small to tell anything about a GPU.
    names = list(RANDOM_MODELS) if model == EMBEDDED else [model]
    documents = [_time_model(name, device, rounds) for name in names]
    rows = [row for document in documents for row in document["contestants"]]
    return documents[0] | {"contestants": rows, "published": PUBLISHED}


def _time_model(name: str, device: str, rounds: int) -> Document:
    with model_or_random(name) as model, tempfile.TemporaryDirectory() as out:
        commands = speed_commands(name, model, device, out, SIDES.get(name, 512))
        return describe_speed(measure(commands, rounds=rounds))


def speed_commands(
    name: str, model: str, device: str, out: str, side: int, steps: Sequence[int] = STEPS
) -> list[BenchCommand]:
    """The commands to time: a plain script, sdcli, and on a GPU sdcli with --compile."""
    # Published figures of GPUs are those of float16.
    dtype = "float32" if device == "cpu" else "float16"
    args = {"model": model, "device": device, "dtype": dtype, "steps": list(steps), "side": side}
    args |= {"prompt": PROMPT, "seed": SEED, "guidance": GUIDANCE}
    argv = ["generate", PROMPT, "--model", model, "--device", device, "--dtype", dtype]
    argv += ["--guidance", str(GUIDANCE), "--size", f"{side}x{side}", "--seed", str(SEED)]
    # Two images of each number of steps, one after the other, as in the script.
    argv += ["--steps", ",".join(map(str, steps)), "--count", "2", "--batch-size", "1"]
    argv += ["--json", "--force", "--out", out]
    ours = {"sdcli generate": argv}
    # Without triton, torch.compile has nothing to compile with on a GPU.
    if device != "cpu" and find_spec("triton"):
        ours["sdcli generate --compile"] = [*argv, "--compile"]
    plain = python_command("-c", _PLAIN, json.dumps(args))
    return [
        BenchCommand(name=f"{name}, plain Diffusers script", argv=plain),
        *(
            BenchCommand(name=f"{name}, {text}", argv=python_command("-c", RUN_SDCLI, device, *own))
            for text, own in ours.items()
        ),
    ]


def describe_speed(timings: Sequence[Timing], steps: Sequence[int] = STEPS) -> Document:
    """Return the document of timings, of which the first is of the plain script.

    Its seconds are those of an image with the most steps, without loading.
    """
    runs = [[_read(text) for text in timing.stdout] for timing in timings]
    drawing = [
        replace(timing, seconds=[run["draw"][-1] for run in own])
        for timing, own in zip(timings, runs, strict=True)
    ]
    phases = {
        timing.name: {"peak_gb": round(median(run["peak_gb"] for run in own), 3)}
        for timing, own in zip(timings, runs, strict=True)
    }
    document = to_document("speed", drawing, phases)
    for row, own in zip(document["contestants"], runs, strict=True):
        row["iterations_per_second"] = _rate([run["draw"] for run in own], steps)
    return document | {"device_name": runs[0][0]["device_name"]}


def _rate(draws: Sequence[Sequence[float]], steps: Sequence[int]) -> float | None:
    """The steps of one second: encoding and decoding cost both numbers of steps the same."""
    seconds = median(draw[-1] - draw[0] for draw in draws)
    return round((steps[-1] - steps[0]) / seconds, 2) if seconds > 0 else None


def _read(stdout: str) -> Mapping[str, Any]:
    text, _, last = stdout.rstrip("\n").rpartition("\n")
    usage: dict[str, Any] = json.loads(last)
    if not text:
        return usage
    # The second image of each number of steps.
    images = json.loads(text)["images"][1::2]
    draw = [sum(i["seconds"][phase] for phase in DRAWING) for i in images]
    return {"draw": draw, **usage}


def speed_table(document: Document, machine: Mapping[str, Any]) -> str:
    """Return the document as a table for the manual, with the device and the published figures."""
    versions = machine["versions"]
    lines = [
        f"{document['device_name']}, torch {versions['torch']}, Diffusers {versions['diffusers']}:",
        "",
        "| what | it/s | s per image | to the script | peak memory |",
        "|------|------|-------------|---------------|-------------|",
    ]
    for row in document["contestants"]:
        cells = [row["name"], row["iterations_per_second"] or "-", f"{row['median_seconds']:.2f}"]
        cells += [f"{row['ratio']:.2f} ×", f"{row['split']['peak_gb']:.1f} GB"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for name, rate in document["published"].items():
        lines.append(f"| published, SD 1.5 on an A100: {name} | {rate} | - | - | - |")
    return "\n".join(lines) + "\n"
