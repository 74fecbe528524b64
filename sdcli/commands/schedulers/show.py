"""`sdcli schedulers show`: one scheduler's options, timesteps and noise levels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS
from sdcli.catalog.schedulers.option_info import option_info
from sdcli.catalog.schedulers.overrides import describe_accepted, format_value
from sdcli.catalog.schedulers.resolve import NO_MODEL, ResolvedScheduler, resolve_scheduler
from sdcli.commands.options import flags
from sdcli.commands.schedulers.list import sampler_document
from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec

SCHEMA = "sdcli/scheduler/1"

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Any name, with schedule and options, as for --scheduler."),
]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="ID|PATH",
        help="Also read this model's scheduler file: a hub id or a folder.",
    ),
]


def show(
    name: Name,
    steps: flags.Steps = None,
    model: Model = None,
    offline: flags.Offline = False,
    json: flags.Json = False,
) -> None:
    """Show one scheduler's options and timesteps.

    An option that the name does not set is taken from the model's file, or else has its
    default: --model shows which. Without it, --steps uses the noise levels of Stable
    Diffusion 1.

    \b
    Examples:
      sdcli schedulers show "DPM++ 2M Karras"
      sdcli schedulers show euler --steps 12
      sdcli schedulers show "ddim;timestep_spacing=trailing" --steps 4 --json
      sdcli schedulers show euler --model embedded
    """
    file = None if model is None else _read_model(model, offline)
    selection = resolve_scheduler(name, NO_MODEL if file is None else file)
    document = _scheduler_document(selection, steps, model)
    if json:
        from sdcli.terminal.json_output import print_json_line

        print_json_line(document)
    else:
        _print_scheduler(document)


def _read_model(model: str, offline: bool) -> Mapping[str, object]:
    """Return the options in the model's scheduler file."""
    from sdcli.checkpoints.refiner import fetch_defaults

    return fetch_defaults(PipelineSpec(model=model, offline=offline)).scheduler_config


def _scheduler_document(
    selection: ResolvedScheduler, steps: int | None, model: str | None
) -> dict[str, Any]:
    assert selection.sampler is not None
    _check_steps(selection, steps)
    return {
        "schema": SCHEMA,
        "label": selection.label,
        **sampler_document(selection.sampler),
        "order": selection.order,
        "stochastic": selection.is_stochastic,
        "resumes_from_latents": selection.resumes_from_latents,
        "max_steps": selection.max_steps,
        "model": model,
        "options": _options(selection, model),
        "steps": steps,
        **_schedule(selection, steps, model),
    }


def _check_steps(selection: ResolvedScheduler, steps: int | None) -> None:
    least = selection.sampler.min_steps if selection.sampler else 1
    if steps is not None and not least <= steps <= selection.max_steps:
        raise UsageError(
            f"--steps: {selection.label} takes {least} to {selection.max_steps}, not {steps}",
            code="usage.num_inference_steps",
        )


def _options(selection: ResolvedScheduler, model: str | None) -> list[dict[str, Any]]:
    class_name = selection.choice.class_name or ""
    config, merged = dict(selection.choice.config), selection.config
    rows = []
    for key, default in CONSTRUCTORS[class_name].items():
        info = option_info(class_name, key)
        rows.append(
            {
                "name": key,
                "default": _format_value(default),
                "set": _format_value(config[key]) if key in config else None,
                "takes": None if info.fixed_reason else describe_accepted(info),
                "value": None if model is None else _format_value(merged[key]),
                "from": None if model is None else _origin(key, selection),
                "fixed": info.fixed_reason or None,
                "meaning": info.description,
            }
        )
    return rows


def _origin(key: str, selection: ResolvedScheduler) -> str:
    """Return what decides an option: the name, the model's file, or the class's default."""
    if key in dict(selection.choice.config):
        return "name"
    return "model" if key in selection.model else "default"


def _schedule(selection: ResolvedScheduler, steps: int | None, model: str | None) -> dict[str, Any]:
    """The timesteps and sigmas; sigma is null for pure noise, where it is infinite."""
    if steps is None:
        return {"schedule": None, "last_sigma": None}
    from sdcli.engine.schedulers.describe import timestep_table

    pairs, last = timestep_table(selection.choice, steps, selection.model if model else None)
    calls = [
        {"call": call, "timestep": timestep, "sigma": sigma if math.isfinite(sigma) else None}
        for call, (timestep, sigma) in enumerate(pairs, 1)
    ]
    return {"schedule": calls, "last_sigma": last}


def _print_scheduler(document: dict[str, Any]) -> None:
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.tables import align_rows, print_facts, wrap_text

    print_facts(_facts(document))
    header, *lines = align_rows(_option_rows(document), [False] * 3)
    print_lines(["", header])
    for line, row in zip(lines, document["options"], strict=True):
        takes = row["takes"] or f"fixed: {row['fixed']}"
        print_lines([line, *wrap_text(f"{row['meaning']} ({takes})", 4)])
    if document["schedule"] is not None:
        _print_schedule(document["schedule"], document["last_sigma"])


def _option_rows(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    options = document["options"]
    if document["model"] is not None:
        rows = [(row["name"], _format_name(row["value"]), row["from"]) for row in options]
        return [("option", "value", "from"), *rows]
    names = ["" if row["set"] is None else _format_name(row["set"]) for row in options]
    return [
        ("option", "set to", "default"),
        *(
            (row["name"], name, _format_name(row["default"]))
            for row, name in zip(options, names, strict=True)
        ),
    ]


def _print_schedule(calls: list[dict[str, Any]], last: float) -> None:
    """Print the timesteps and sigmas as a table and as plots."""
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.plot import plot
    from sdcli.terminal.tables import print_columns

    sigmas = [math.inf if c["sigma"] is None else c["sigma"] for c in calls]
    rows = [
        (c["call"], f"{c['timestep']:.6g}", f"{sigma:.4f}")
        for c, sigma in zip(calls, sigmas, strict=True)
    ]
    print_lines([""])
    print_columns(("call", "timestep", "sigma"), [*rows, (None, None, f"{last:.4f}")])
    print_lines(["", *plot("timestep by UNet call", [c["timestep"] for c in calls])])
    # A last sigma of 0 has no place on a logarithmic axis.
    title = f"sigma by UNet call (log), and {last:.4g} at the end"
    print_lines(["", *plot(title, [*sigmas, last] if last > 0 else sigmas, log=True)])


def _facts(document: dict[str, Any]) -> dict[str, object]:
    noise = "at every step" if document["stochastic"] else "none"
    latents = "the latents of any step" + " at an eta of 0" * document["takes_eta"]
    return {
        "scheduler": document["label"],
        "class": document["class"],
        "other names": ", ".join(document["aliases"]),
        "order": document["order"],
        "UNet calls for N steps": document["unet_calls"],
        "adds noise": "as --eta says" if document["takes_eta"] else noise,
        "schedules": ", ".join(document["schedules"]),
        "Automatic is": document["automatic"],
        "steps": f"{document['min_steps']} to {document['max_steps']}",
        "resumes from": latents if document["resumes_from_latents"] else "--save-latents all",
        "needs": document["package"],
        "note": document["note"],
    }


def _format_value(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _format_name(value: object) -> str:
    return "none" if value in (None, []) else format_value(value)
