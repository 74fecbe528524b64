"""`sdcli bench`: time sdcli against what users would run otherwise."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.inputs.text_decoding import decode_text
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec
from sdcli.prompts.files import open_file
from sdcli.terminal.console import Console
from sdcli.terminal.output import print_lines
from sdcli.terminal.printing import print_document


class Scenario(StrEnum):
    """A thing that can be timed."""

    START = "start"
    ONE = "one"
    BATCH = "batch"
    WARM = "warm"
    DUMP = "dump"
    PREVIEW = "preview"
    TRACE = "trace"
    LOAD = "load"
    WORKERS = "workers"
    PLANNING = "planning"
    SAVERS = "savers"
    OPENVINO = "openvino"
    OPENVINO_FULL = "openvino-full"


_SCENARIOS = (
    "start: commands without a model; one: one image; batch: a hundred images. Default: these "
    "three. warm: one image with --warm; preview: live previews; trace: a traced run; dump: the "
    "latents of every step, with a random model of the size of Stable Diffusion 1.5 (4 GB of "
    "disk); load: loading such a model from a file (2 GB of disk); workers: a hundred images in "
    "two processes; planning: dry runs of long files; savers: fewer computations, and the "
    "quality lost; openvino: --backend openvino beside torch, in each precision "
    "of this CPU; openvino-full: the same with a random model of the size of Stable Diffusion 1.5 "
    "(12 GB of disk)."
)


def bench(
    scenarios: Annotated[
        list[Scenario] | None,
        typer.Argument(help=_SCENARIOS),
    ] = None,
    model: flags.Model = EMBEDDED,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Rounds, after one that is not counted.")
    ] = 3,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", help="File of prompts, one a line: batch, workers, savers.", metavar="FILE"
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, help="Number of prompts (batch, workers, savers).")
    ] = 100,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Time sdcli against plain Diffusers scripts and diffusers-cli.

    All run on the CPU, in float32 unless another precision is named, in turns, each run in a
    new process. Times are only meaningful on an idle machine.

    \b
    Examples:
      sdcli bench
      sdcli bench one --rounds 5 --json
      sdcli bench batch --prompts prompts/demo.txt
      sdcli bench workers --prompts prompts/demo.txt
      sdcli bench openvino-full --rounds 1
    """
    texts = _read_prompts(prompts)[:count] if prompts else None
    documents = []
    for scenario in scenarios or (Scenario.START, Scenario.ONE, Scenario.BATCH):
        if not quiet:
            Console().summary(f"{scenario}: {rounds + 1} rounds …")
        document = _run_scenario(scenario, model, texts, count, rounds)
        documents.append(document)
        if not json:
            _print_scenario(scenario, document)
    if json:
        print_document({"schema": "sdcli/bench/1", "races": documents}, json=True)


def _run_scenario(
    scenario: Scenario, model: str, prompts: list[str] | None, count: int, rounds: int
) -> dict[str, Any]:
    from sdcli.bench.scenarios import (
        shape_prompts,
        time_batch,
        time_loading,
        time_preview,
        time_saving_latents,
        time_single_image,
        time_startup,
    )
    from sdcli.bench.trace import time_trace
    from sdcli.bench.warm import time_warm_run
    from sdcli.checkpoints.hub import fetch_model

    if scenario is Scenario.START:
        return time_startup(rounds)
    if scenario is Scenario.DUMP:
        return time_saving_latents(rounds)
    if scenario is Scenario.LOAD:
        return time_loading(rounds)
    if scenario is Scenario.PREVIEW:
        return time_preview(rounds)
    if scenario is Scenario.TRACE:
        return time_trace(rounds)
    if scenario is Scenario.WORKERS:
        from sdcli.bench.workers import time_workers

        return time_workers(model, prompts or shape_prompts(count), rounds)
    if scenario is Scenario.SAVERS:
        from sdcli.bench.savers import time_savers

        return time_savers(model, prompts or shape_prompts(count), rounds)
    if scenario in (Scenario.OPENVINO, Scenario.OPENVINO_FULL):
        from sdcli.bench.backends import time_backends, time_full_size_backends

        is_full = scenario is Scenario.OPENVINO_FULL
        return time_full_size_backends(rounds) if is_full else time_backends(model, rounds)
    if scenario is Scenario.PLANNING:
        from sdcli.bench.planning import time_planning

        return time_planning(rounds)
    folder = fetch_model(PipelineSpec(model=model))
    if scenario is Scenario.ONE:
        return time_single_image(folder, model, rounds)
    if scenario is Scenario.WARM:
        return time_warm_run(folder, model, rounds)
    return time_batch(folder, model, prompts or shape_prompts(count), rounds)


def _read_prompts(path: Path) -> list[str]:
    with open_file(str(path)) as stream:
        lines = decode_text(stream.read(), str(path), code="usage.prompts").split("\n")
    prompts = [text for line in lines if (text := line.strip()) and not text.startswith("#")]
    if not prompts:
        raise UsageError(f"--prompts: {path} has no prompts", code="usage.prompts")
    return prompts


def _print_scenario(scenario: Scenario, document: dict[str, Any]) -> None:
    facts: dict[str, Any] = {}
    for row in document["contestants"]:
        facts[row["name"]] = f"{row['median_seconds']:.2f} s, × {row['ratio']:.2f}"
        if "median_psnr" in row:
            facts[row["name"]] += f", {_decibels(row['median_psnr'])}"
            facts[row["name"]] += f" (lowest {_decibels(row['lowest_psnr'])})"
        for phase, seconds in (row["split"] or {}).items():
            unit = "GB" if phase == "peak_gb" else "s"
            facts[f"  {row['name']}: {phase.removesuffix('_gb')}"] = f"{seconds:.3f} {unit}"
    for name, key in (("seconds of loading", "load_ratio"), ("peak memory", "peak_gb_ratio")):
        if key in document:
            facts[name] = ", ".join(f"× {ratio:.2f}" for ratio in document[key])
    if "cpu_ratio" in document:
        facts["CPU seconds with it"] = f"× {document['cpu_ratio']:.2f}"
    if "denoise_ratio" in document:
        facts["denoising with it"] = f"× {document['denoise_ratio']:.3f}"
    if "same_pixels" in document:
        facts["same pixels"] = "yes" if document["same_pixels"] else "NO"
    print_lines([f"{scenario}, median of {document['rounds']}, × relative to the first line"])
    print_document(facts, json=False)


def _decibels(value: float | None) -> str:
    return "the same images" if value is None else f"{value:.1f} dB"
