"""Time options that save steps, and measure how far their images are from those of the full run."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Final

from sdcli.bench.measure import BenchCommand, Timing, measure, sdcli_command
from sdcli.bench.scenarios import EXACT, Document, to_document
from sdcli.numerics.metrics import psnr
from sdcli.storage.images.pixels import read_pixels

FULL: Final = ("--steps", "20")
SAVERS: Final = (
    (*FULL, "--feature-cache", "2"),
    (*FULL, "--feature-cache", "3"),
    (*FULL, "--guidance-every", "2"),
    (*FULL, "--guidance-every", "3"),
    (*FULL, "--draft"),
    ("--steps", "16"),
    ("--steps", "12"),
    ("--steps", "10"),
)
"""Each is compared with the run of `FULL`."""


def time_savers(model: str, prompts: Sequence[str], rounds: int) -> Document:
    """Time denoising an image for each prompt, by each of the savers in turn."""
    with tempfile.TemporaryDirectory() as folder:
        timings = measure(saver_commands(model, prompts, folder), rounds=rounds)
        return describe_savers(timings)


def saver_commands(model: str, prompts: Sequence[str], folder: str) -> list[BenchCommand]:
    """The commands to time, each with a folder in `folder` for its images."""
    file = Path(folder, "prompts.txt")
    file.write_text("".join(f"{prompt}\n" for prompt in prompts), "utf-8")
    shared = ["batch", str(file), "--model", model, *EXACT]
    shared += ["--batch-size", "1", "--redo", "--quiet", "--json"]
    return [
        BenchCommand(
            name=" ".join(options),
            argv=sdcli_command(*shared, *options, "--out", f"{folder}/{number}"),
        )
        for number, options in enumerate((FULL, *SAVERS))
    ]


def describe_savers(timings: Sequence[Timing]) -> Document:
    """Return the document of timings, of which the first is of the full run.

    Its seconds are those of denoising one image; starting and loading cost all of them the same.
    """
    denoising = [
        replace(timing, seconds=[_seconds_per_image(text) for text in timing.stdout])
        for timing in timings
    ]
    document = add_distances(to_document("savers", denoising, {}), timings)
    return document | {"prompts": len(_paths(timings[0]))}


def add_distances(document: Document, timings: Sequence[Timing]) -> Document:
    """Add to each contestant the decibels from its last images to those of the first one."""
    return add_file_distances(document, [_paths(timing) for timing in timings])


def add_file_distances(document: Document, files: Sequence[Sequence[Path]]) -> Document:
    """Add to each contestant the decibels from its images, which `files` has, to the first one's.

    The seconds that it saves are added as well.
    """
    full, seconds = files[0], document["contestants"][0]["median_seconds"]
    for row, paths in zip(document["contestants"], files, strict=True):
        distances = [
            psnr(read_pixels(one)[0], read_pixels(other)[0])
            for one, other in zip(full, paths, strict=True)
        ]
        row["seconds_saved"] = round(seconds - row["median_seconds"], 3)
        row["median_psnr"] = _finite(median_low(distances))
        row["lowest_psnr"] = _finite(min(distances))
    return document


def _paths(timing: Timing) -> list[Path]:
    return [Path(image["path"]) for image in json.loads(timing.stdout[-1])["images"]]


def _seconds_per_image(stdout: str) -> float:
    seconds = [float(image["seconds"]["denoise"]) for image in json.loads(stdout)["images"]]
    return sum(seconds) / len(seconds)


def _finite(decibels: float) -> float | None:
    """Return what JSON can hold: None for images without any difference."""
    return None if math.isinf(decibels) else round(decibels, 1)
