"""`sdcli schedulers list`: the table of samplers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

import typer

from sdcli.catalog.samplers import SAMPLERS, Sampler
from sdcli.commands import options
from sdcli.errors import UsageError

SCHEMA = "sdcli/schedulers/1"

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="WORDS", help="Only rows with all of these words, as in: karras sde."),
]


def list_schedulers(words: Words = None, json: options.Json = False) -> None:
    """List the schedulers and what they can do.

    "calls" are UNet calls for N steps, "noise" is whether it adds noise at its steps.

    \b
    Examples:
      sdcli schedulers list
      sdcli schedulers list karras stochastic
      sdcli schedulers list dpmpp --json
    """
    rows = [row for row in SAMPLERS if _matches(row, words or [])]
    if not rows:
        raise UsageError(
            f"no scheduler has all of: {' '.join(words or [])}",
            code="scheduler.unknown",
            hint="sdcli schedulers list",
        )
    if json:
        from sdcli.output import events

        events.emit({"schema": SCHEMA, "schedulers": [describe(row) for row in rows]})
    else:
        _print(rows)


def describe(row: Sampler) -> dict[str, Any]:
    """A row as JSON."""
    return {
        "name": row.name,
        "aliases": list(row.aliases),
        "class": row.class_name,
        "order": row.order,
        "unet_calls": row.calls,
        "stochastic": row.stochastic,
        "takes_eta": row.takes_eta,
        "schedules": list(row.schedules),
        "automatic": row.automatic,
        "min_steps": row.min_steps,
        "max_steps": row.max_steps,
        "package": row.package,
        "package_found": row.package is None or find_spec(row.package) is not None,
        "note": row.note,
    }


def _matches(row: Sampler, words: list[str]) -> bool:
    kind = "stochastic random" if row.stochastic else "deterministic"
    own = (row.name, row.class_name, *row.aliases, *row.schedules, row.package or "", kind)
    text = " ".join(own).lower()
    return all(word.lower() in text for word in words)


def _print(rows: list[Sampler]) -> None:
    from sdcli.output.columns import show_columns

    show_columns(
        ("name", "class", "order", "calls", "noise", "schedules", "min", "needs", "other names"),
        [
            (
                row.name,
                row.class_name.removesuffix("Scheduler"),
                row.order,
                row.calls,
                "yes" if row.stochastic else "eta" if row.takes_eta else "no",
                ", ".join(row.schedules) or "its own",
                row.min_steps,
                row.package or "",
                ", ".join(row.aliases),
            )
            for row in rows
        ],
    )
