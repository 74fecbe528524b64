"""Time --backend openvino beside torch, and measure how far its images are from those of torch."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any, Final

from sdcli.bench.measure import BenchCommand, Timing, measure, sdcli_command
from sdcli.bench.random_model import full_size_model
from sdcli.bench.savers import add_distances
from sdcli.bench.scenarios import PROMPT, SEED, Document, to_document
from sdcli.pipeline_spec import BACKENDS, PipelineSpec
from sdcli.planning.backend_check import check_backend

PHASES: Final = ("load", "encode", "denoise", "decode")
DRAWING: Final = PHASES[1:]
"""The phases of an image that is drawn by a loaded model."""

_FEW_STEPS: Final = ("--steps", "4", "--size", "512x512")
_VARIABLE: Final = "XDG_CACHE_HOME"


def time_backends(model: str, rounds: int) -> Document:
    """Time images of a model by each backend in each precision. Raises UsageError without OpenVINO.

    The round that is not counted converts the model.
    """
    check_backend(PipelineSpec(backend="openvino"))
    with tempfile.TemporaryDirectory() as folder:
        commands = backend_commands(model, ("--count", "8"), folder)
        return describe_backends(measure(commands, rounds=rounds))


def time_full_size_backends(rounds: int) -> Document:
    """Time the same with a random model of the size of Stable Diffusion 1.5, at 512x512.

    Its converted networks are deleted with it.
    """
    check_backend(PipelineSpec(backend="openvino"))
    with full_size_model() as (folder, model), own_cache(folder):
        commands = backend_commands(model, _FEW_STEPS, folder)
        return describe_backends(measure(commands, rounds=rounds))


@contextmanager
def own_cache(folder: str) -> Iterator[None]:
    """Keep converted networks in a folder in the `with` block."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = f"{folder}/cache"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def backend_commands(model: str, options: Sequence[str], folder: str) -> list[BenchCommand]:
    """The commands to time, each with a folder in `folder` for its images."""
    shared = ["generate", PROMPT, "--model", model, "--seed", str(SEED), "--device", "cpu"]
    shared += ["--json", "--force", *options]
    return [
        BenchCommand(
            name=f"{backend}, {dtype}",
            argv=sdcli_command(*shared, "--backend", backend, "--dtype", dtype,
                               "--out", f"{folder}/{backend}-{dtype}"),
        )
        for dtype in _dtypes()
        for backend in BACKENDS
    ]  # fmt: skip


def _dtypes() -> list[str]:
    from sdcli.engine import has_fast_bfloat16

    return ["float32", *(["bfloat16"] if has_fast_bfloat16() else [])]


def describe_backends(timings: Sequence[Timing]) -> Document:
    """Return the document of timings, of which the first is of torch in float32.

    Its seconds are those of one image without loading.
    """
    phases = {timing.name: _median_phases(timing) for timing in timings}
    drawing = [
        replace(timing, seconds=[_seconds(text) for text in timing.stdout]) for timing in timings
    ]
    return add_distances(to_document("openvino", drawing, phases), timings)


def _images(stdout: str) -> list[Mapping[str, Any]]:
    images: list[Mapping[str, Any]] = json.loads(stdout)["images"]
    return images


def _seconds(stdout: str) -> float:
    """Return the seconds of one image, of many the median: the first one includes preparations."""
    return median(
        sum(float(image["seconds"][phase]) for phase in DRAWING) for image in _images(stdout)
    )


def _median_phases(timing: Timing) -> dict[str, float]:
    runs = [_images(text) for text in timing.stdout]
    return {
        phase: round(median(float(i["seconds"][phase]) for run in runs for i in run), 3)
        for phase in PHASES
    }
