"""`sdcli bench`: time sdcli against what users would run otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.inputs.paths import output_path
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
    SPEED = "speed"
    OPENVINO = "openvino"
    OPENVINO_FULL = "openvino-full"
    MILLION = "million"
    FULL = "full"
    ALL = "all"


_SCENARIOS = (
    "start: commands without a model; one: one image; batch: a hundred images. Default: these "
    "three. warm: one image with --warm; preview: live previews; trace: a traced run, and one "
    "with attention recorded; dump: the latents of every step, with a random model of the size of "
    "Stable Diffusion 1.5 (4 GB of disk); full: an image of such a model (12 GB of disk); load: "
    "loading such a model from a file (2 GB of disk); workers: a hundred images in two processes; "
    "planning: dry runs of long files; million: a dry run of a million lines; savers: fewer "
    "computations, and the quality lost; openvino: --backend openvino beside torch, in each "
    "precision of this CPU; openvino-full: the same with the model of full (12 GB of disk); speed: "
    "steps per second of random models of the size of Stable Diffusion 1.5 and XL, for a GPU "
    "(11 GB of disk); the default with --device. all: "
    "the scenarios that have a goal, and whether it holds (20 minutes with --rounds 1)."
)


_Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Hub id, folder or .safetensors file of a Stable Diffusion model, or sd15 or sdxl "
        "for a random one of that size, made for the benchmark.",
        metavar="MODEL",
    ),
]
_Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Device of speed, such as cuda. The other scenarios run on the CPU.",
        metavar="DEVICE",
    ),
]
_Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the result of each scenario, written as it ends, and for the goals.",
        metavar="DIR",
    ),
]
_Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts", help="File of prompts, one a line: batch, workers, savers.", metavar="FILE"
    ),
]


def bench(
    scenarios: Annotated[
        list[Scenario] | None,
        typer.Argument(help=_SCENARIOS),
    ] = None,
    model: _Model = EMBEDDED,
    device: _Device = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Rounds, after one that is not counted.")
    ] = 3,
    prompts: _Prompts = None,
    count: Annotated[
        int, typer.Option("--count", min=1, help="Number of prompts (batch, workers, savers).")
    ] = 100,
    out: _Out = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Time sdcli against plain Diffusers scripts and diffusers-cli.

    All but speed run on the CPU, in float32 unless another precision is named, in turns, each
    run in a new process. Times are only meaningful on an idle machine.

    \b
    Examples:
      sdcli bench
      sdcli bench one --rounds 5 --json
      sdcli bench batch --prompts prompts/demo.txt
      sdcli bench workers --prompts prompts/demo.txt
      sdcli bench all --rounds 1 --count 40 --out figures
      sdcli bench --device cuda --out figures
    """
    from sdcli.bench.run_scenario import BenchOptions

    texts = _read_prompts(prompts)[:count] if prompts else None
    asked = scenarios or _default_scenarios(device)
    folder = None if out is None else output_path(out)
    options = BenchOptions(
        model=model,
        rounds=rounds,
        count=count,
        given_prompts=texts,
        device=_check_device(asked, model, device),
    )
    _run(asked, options, folder, is_json=json, is_quiet=quiet)


def _default_scenarios(device: str | None) -> list[Scenario]:
    return [Scenario.SPEED] if device else [Scenario.START, Scenario.ONE, Scenario.BATCH]


def _check_device(asked: Sequence[Scenario], model: str, device: str | None) -> str:
    """Return the device of speed. Raises UsageError for one, or a model, that has no effect."""
    from sdcli.bench.run_scenario import OF_A_MODEL

    others = [str(one) for one in asked if one is not Scenario.SPEED]
    if model != EMBEDDED and not {*OF_A_MODEL, Scenario.SPEED, Scenario.ALL}.intersection(asked):
        raise UsageError(
            f"--model: {model} has no effect on {', '.join(others)}",
            code="usage.model",
            hint=f"leave it out, or name one of {', '.join(sorted(OF_A_MODEL))}, speed",
        )
    # Their plain scripts load the pipeline of Stable Diffusion 1.
    if model == "sdxl" and others:
        raise UsageError(
            f"--model: {others[0]} cannot be run with sdxl",
            code="usage.model",
            hint="use sdxl with the scenario speed",
        )
    if device in (None, "cpu"):
        return "cpu"
    if others:
        raise UsageError(
            f"--device: {device} has no effect on {others[0]}, which runs on the CPU",
            code="usage.device",
            hint="use --device with the scenario speed",
        )
    from sdcli.engine import device_of

    return str(device_of(PipelineSpec(device=device)))


def _run(
    asked: Sequence[Scenario], options: Any, out: Path | None, *, is_json: bool, is_quiet: bool
) -> None:
    """Run the scenarios, and print and write the result of each as it ends."""
    from sdcli.bench.goals import SCENARIOS, check_goals
    from sdcli.bench.machine import describe_machine
    from sdcli.bench.results_folder import write_document, write_goals, write_speed
    from sdcli.bench.run_scenario import run_scenario

    machine = describe_machine()
    documents: dict[str, dict[str, Any]] = {}
    for scenario in _names(asked, SCENARIOS):
        if not is_quiet:
            Console().summary(f"{scenario}: {options.rounds + 1} rounds …")
        documents[scenario] = run_scenario(scenario, options)
        if out:
            write_document(out, scenario, documents[scenario])
            if scenario == Scenario.SPEED:
                write_speed(out, documents[scenario], machine)
        if not is_json:
            _print_scenario(scenario, documents[scenario])
    goals = check_goals(documents) if Scenario.ALL in asked else []
    if goals and out:
        write_goals(out, goals, machine)
    if is_json:
        results = {"schema": "sdcli/bench/1", "machine": machine, "goals": goals}
        print_document({**results, "races": list(documents.values())}, json=True)
    elif goals:
        _print_goals(goals, machine)


def _names(scenarios: Sequence[Scenario], with_goals: Sequence[str]) -> list[str]:
    """Return the names of scenarios, each once, with those that `all` stands for."""
    found = (with_goals if one is Scenario.ALL else (str(one),) for one in scenarios)
    return list(dict.fromkeys(name for names in found for name in names))


def _print_goals(goals: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> None:
    from sdcli.bench.goals import describe_goal

    print_lines([f"goals, on {machine['cpu']}, {machine['cores']} cores"])
    print_document({goal["name"]: describe_goal(goal) for goal in goals}, json=False)


def _read_prompts(path: Path) -> list[str]:
    with open_file(str(path)) as stream:
        lines = decode_text(stream.read(), str(path), code="usage.prompts").split("\n")
    prompts = [text for line in lines if (text := line.strip()) and not text.startswith("#")]
    if not prompts:
        raise UsageError(f"--prompts: {path} has no prompts", code="usage.prompts")
    return prompts


def _print_scenario(scenario: str, document: dict[str, Any]) -> None:
    facts: dict[str, Any] = {}
    for row in document["contestants"]:
        facts[row["name"]] = f"{row['median_seconds']:.2f} s, × {row['ratio']:.2f}"
        if "median_psnr" in row:
            facts[row["name"]] += f", {row['seconds_saved']:.2f} s saved"
            facts[row["name"]] += f", {_decibels(row['median_psnr'])}"
            facts[row["name"]] += f" (lowest {_decibels(row['lowest_psnr'])})"
        if rate := row.get("iterations_per_second"):
            facts[row["name"]] += f", {rate:.2f} it/s"
        for phase, seconds in (row["split"] or {}).items():
            unit = "GB" if phase == "peak_gb" else "s"
            facts[f"  {row['name']}: {phase.removesuffix('_gb')}"] = f"{seconds:.3f} {unit}"
    for name, key in (("seconds of loading", "load_ratio"), ("peak memory", "peak_gb_ratio")):
        if key in document:
            facts[name] = ", ".join(f"× {ratio:.2f}" for ratio in document[key])
    for name, key in (
        ("CPU seconds with a trace", "cpu_ratio"),
        ("CPU seconds with attention", "attention_ratio"),
    ):
        if key in document:
            facts[name] = f"× {document[key]:.2f}"
    if "denoise_ratio" in document:
        facts["denoising with it"] = f"× {document['denoise_ratio']:.3f}"
    if "same_pixels" in document:
        facts["same pixels"] = "yes" if document["same_pixels"] else "NO"
    for name, rate in document.get("published", {}).items():
        facts[f"published for SD 1.5 on an A100: {name}"] = f"{rate} it/s"
    if "device_name" in document:
        facts["device"] = document["device_name"]
    print_lines([f"{scenario}, median of {document['rounds']}, × relative to the first line"])
    print_document(facts, json=False)


def _decibels(value: float | None) -> str:
    return "the same images" if value is None else f"{value:.1f} dB"
