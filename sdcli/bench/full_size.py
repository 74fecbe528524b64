"""Time an image of a model of the size of Stable Diffusion 1.5 against a plain script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final

from sdcli.bench.backends import DRAWING, own_cache
from sdcli.bench.measure import BenchCommand, Timing, measure, python_command
from sdcli.bench.peak_memory import RUN_SDCLI
from sdcli.bench.random_model import full_size_model
from sdcli.bench.savers import add_file_distances
from sdcli.bench.scenarios import PROMPT, SEED, Document, plain_script, to_document

STEPS: Final = 4
SIDE: Final = 512


def time_full_size(rounds: int) -> Document:
    """Time an image by a plain script in float32, by sdcli as it is, and by it with OpenVINO.

    Its seconds are those of drawing: encoding the prompt, denoising and decoding. The round that is
    not counted converts the model.
    """
    with full_size_model() as (folder, model), own_cache(folder):
        commands = list(full_size_commands(folder, model))
        return describe_full_size(measure(commands, rounds=rounds), folder)


def full_size_commands(folder: str, model: str) -> Iterator[BenchCommand]:
    """Yield the commands to time. Without OpenVINO, there is none for it."""
    yield plain_script(Path(model), folder, steps=STEPS, width=SIDE, height=SIDE)
    shared = ["generate", PROMPT, "--model", model, "--seed", str(SEED), "--device", "cpu"]
    shared += ["--steps", str(STEPS), "--size", f"{SIDE}x{SIDE}", "--json", "--force"]
    backends = ["torch", *(["openvino"] if find_spec("openvino") else [])]
    for backend in backends:
        named = ["--backend", backend, "--out", _image(folder, backend)]
        name = "sdcli generate" + ("" if backend == "torch" else f" --backend {backend}")
        yield BenchCommand(name=name, argv=python_command("-c", RUN_SDCLI, "cpu", *shared, *named))


def describe_full_size(timings: Sequence[Timing], folder: str) -> Document:
    """Return the document of timings, of which the first is of the plain script."""
    runs = [[_read(text) for text in timing.stdout] for timing in timings]
    drawing = [
        replace(timing, seconds=[run["draw"] for run in own])
        for timing, own in zip(timings, runs, strict=True)
    ]
    phases = {
        timing.name: {key: round(median(run[key] for run in own), 3) for key in own[0]}
        for timing, own in zip(timings, runs, strict=True)
    }
    images = [[Path(folder, "plain.png")]]
    images += [[Path(_image(folder, name))] for name in ("torch", "openvino")]
    document = to_document("full", drawing, phases)
    return add_file_distances(document, images[: len(timings)])


def _image(folder: str, backend: str) -> str:
    return f"{folder}/{backend}.png"


def _read(stdout: str) -> Mapping[str, float]:
    """Return the seconds and the memory that the output of a command tells."""
    text, _, usage = stdout.rstrip("\n").rpartition("\n")
    last: dict[str, Any] = json.loads(usage)
    if not text:
        seconds = last["seconds"]
        return {"load": seconds["load"], "draw": seconds["draw"], "peak_gb": last["peak_gb"]}
    [image] = json.loads(text)["images"]
    draw = sum(image["seconds"][phase] for phase in DRAWING)
    return {"load": image["seconds"]["load"], "draw": draw, "peak_gb": last["peak_gb"]}
