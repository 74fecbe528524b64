"""`sdcli schedulers show`: one scheduler's options, timesteps and noise levels."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from sdcli.catalog.constructors import CONSTRUCTORS, option
from sdcli.catalog.overrides import spell, spelled_takes
from sdcli.catalog.schedulers import Selection, resolve
from sdcli.commands import options
from sdcli.commands.schedulers.listing import describe
from sdcli.errors import UsageError

SCHEMA = "sdcli/scheduler/1"

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Any name, with schedule and options, as --scheduler."),
]


def show(name: Name, steps: options.Steps = None, json: options.Json = False) -> None:
    """Show one scheduler's options and timesteps.

    An option that the name does not set is the model's own, else the default. --steps needs no
    model either: it takes Stable Diffusion 1's noise levels.

    \b
    Examples:
      sdcli schedulers show "DPM++ 2M Karras"
      sdcli schedulers show euler --steps 12
      sdcli schedulers show "ddim;timestep_spacing=trailing" --steps 4 --json
    """
    selection = resolve(name)
    document = _document(selection, steps)
    if json:
        from sdcli.output import events

        events.emit(document)
    else:
        _print(document)


def _document(selection: Selection, steps: int | None) -> dict[str, Any]:
    assert selection.sampler is not None
    _check_steps(selection, steps)
    return {
        "schema": SCHEMA,
        "label": selection.label,
        **describe(selection.sampler),
        "order": selection.order,
        "stochastic": selection.is_stochastic,
        "max_steps": selection.max_steps,
        "options": _options(selection),
        "steps": steps,
        "schedule": _schedule(selection, steps) if steps else None,
    }


def _check_steps(selection: Selection, steps: int | None) -> None:
    least = selection.sampler.min_steps if selection.sampler else 1
    if steps is not None and not least <= steps <= selection.max_steps:
        raise UsageError(
            f"--steps: {selection.label} takes {least} to {selection.max_steps}, not {steps}",
            code="usage.num_inference_steps",
        )


def _options(selection: Selection) -> list[dict[str, Any]]:
    class_name = selection.choice.class_name or ""
    config = dict(selection.choice.config)
    rows = []
    for key, default in CONSTRUCTORS[class_name].items():
        known = option(class_name, key)
        rows.append(
            {
                "name": key,
                "default": _plain(default),
                "set": _plain(config[key]) if key in config else None,
                "takes": None if known.fixed else spelled_takes(known),
                "fixed": known.fixed or None,
                "meaning": known.meaning,
            }
        )
    return rows


def _schedule(selection: Selection, steps: int) -> list[dict[str, float]]:
    from sdcli.engine.schedulers import schedule

    pairs = schedule(selection.choice, steps)
    return [
        {"call": call, "timestep": timestep, "sigma": sigma}
        for call, (timestep, sigma) in enumerate(pairs, 1)
    ]


def _print(document: dict[str, Any]) -> None:
    from sdcli.output import tables
    from sdcli.output.columns import show_columns, show_lines
    from sdcli.output.plot import plot

    tables.show(_facts(document))
    show_lines([""])
    show_columns(
        ("option", "set to", "default", "meaning", "takes"),
        [
            (
                row["name"],
                "" if row["set"] is None else _word(row["set"]),
                _word(row["default"]),
                row["meaning"],
                row["takes"] or f"fixed: {row['fixed']}",
            )
            for row in document["options"]
        ],
    )
    if document["schedule"] is None:
        return
    calls = document["schedule"]
    show_lines([""])
    show_columns(
        ("call", "timestep", "sigma"),
        [(c["call"], f"{c['timestep']:.6g}", f"{c['sigma']:.4f}") for c in calls],
    )
    show_lines(["", *plot("timestep by UNet call", [c["timestep"] for c in calls])])
    show_lines(["", *plot("sigma by UNet call (log)", [c["sigma"] for c in calls], log=True)])


def _facts(document: dict[str, Any]) -> dict[str, object]:
    noise = "at every step" if document["stochastic"] else "none"
    return {
        "scheduler": document["label"],
        "class": document["class"],
        "other names": ", ".join(document["aliases"]),
        "order": document["order"],
        "UNet calls for N steps": document["unet_calls"],
        "adds noise": "as --eta says" if document["takes_eta"] else noise,
        "schedules": ", ".join(document["schedules"]) or "its own",
        "Automatic means": document["automatic"] if document["schedules"] else None,
        "steps": f"{document['min_steps']} to {document['max_steps']}",
        "needs": document["package"],
        "note": document["note"],
    }


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _word(value: object) -> str:
    return "none" if value in (None, []) else spell(value)
