"""`sdcli bench`: how long it takes, beside what one would otherwise run."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.request import EMBEDDED, PipelineSpec
from sdcli.terminal.printing import print_document


class Scenario(StrEnum):
    """What can be timed."""

    START = "start"
    ONE = "one"
    BATCH = "batch"
    DUMP = "dump"
    PREVIEW = "preview"


def bench(
    races: Annotated[
        list[Scenario] | None,
        typer.Argument(
            help="start: no model; one: a picture; batch: a hundred. These three if left out. "
            "preview: pictures seen while they form; dump: latents of every step, on a random "
            "model of Stable Diffusion 1.5's size (4 GB of disk)."
        ),
    ] = None,
    model: flags.Model = EMBEDDED,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Counted rounds, after one that is not.")
    ] = 3,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="A prompt a line, for batch.", metavar="FILE"),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, help="How many prompts, for batch.")
    ] = 100,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Time sdcli beside plain Diffusers scripts and diffusers-cli.

    All run on the CPU in float32, every run in a new process, and take turns. Times
    mean something on an idle machine only.

    \b
    Examples:
      sdcli bench
      sdcli bench one --rounds 5 --json
      sdcli bench batch --prompts prompts/demo.txt
    """
    asked = _read_prompts(prompts)[:count] if prompts else None
    documents = []
    for race in races or (Scenario.START, Scenario.ONE, Scenario.BATCH):
        if not quiet:
            print(f"sdcli: {race}: {rounds + 1} rounds …", file=sys.stderr, flush=True)
        document = _run_scenario(race, model, asked, count, rounds)
        documents.append(document)
        if not json:
            _print_scenario(race, document)
    if json:
        print_document({"schema": "sdcli/bench/1", "races": documents}, json=True)


def _run_scenario(
    race: Scenario, model: str, prompts: list[str] | None, count: int, rounds: int
) -> dict[str, Any]:
    from sdcli.bench.scenarios import batch, dump, one, preview, prompts_of_shapes, start
    from sdcli.checkpoints.hub import fetch_model

    if race is Scenario.START:
        return start(rounds)
    if race is Scenario.DUMP:
        return dump(rounds)
    if race is Scenario.PREVIEW:
        return preview(rounds)
    folder = fetch_model(PipelineSpec(model=model))
    if race is Scenario.ONE:
        return one(folder, model, rounds)
    return batch(folder, model, prompts or prompts_of_shapes(count), rounds)


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--prompts: cannot read {path}: {error}", code="usage.prompts") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UsageError(f"--prompts: {path} holds no prompt", code="usage.prompts")
    return found


def _print_scenario(race: Scenario, document: dict[str, Any]) -> None:
    facts: dict[str, object] = {}
    for row in document["contestants"]:
        facts[row["name"]] = f"{row['median_seconds']:.2f} s, × {row['ratio']:.2f}"
        for phase, seconds in (row["split"] or {}).items():
            facts[f"  {row['name']}: {phase}"] = f"{seconds:.3f} s"
    if "denoise_ratio" in document:
        facts["denoising with it"] = f"× {document['denoise_ratio']:.3f}"
    if "same_pixels" in document:
        facts["the same pixels"] = "yes" if document["same_pixels"] else "NO"
    print(f"{race}, median of {document['rounds']}, × to the first line")
    print_document(facts, json=False)
