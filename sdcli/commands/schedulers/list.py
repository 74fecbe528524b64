"""`sdcli schedulers list`: the table of samplers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

import typer

from sdcli.catalog.schedulers.sampler_search import find_samplers, sampler_notes
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.commands.options import flags

SCHEMA = "sdcli/schedulers/1"

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WORDS", help="Only list schedulers that match all of these words, e.g. karras sde."
    ),
]


def list_schedulers(words: Words = None, json: flags.Json = False) -> None:
    """List the schedulers and what they can do.

    "calls" is the number of UNet calls for N steps, "noise" tells whether noise is added at
    every step, and "resume" what `latents resume` needs: the latents of one step, or the
    output of --save-latents all.

    \b
    Examples:
      sdcli schedulers list
      sdcli schedulers list karras stochastic
      sdcli schedulers list distilled
      sdcli schedulers list dpmpp --json
    """
    rows = find_samplers(words or [])
    if json:
        from sdcli.terminal.json_output import print_json_line

        print_json_line({"schema": SCHEMA, "schedulers": [sampler_document(row) for row in rows]})
    else:
        _print_table(rows)


def sampler_document(row: Sampler) -> dict[str, Any]:
    """A row of the table as JSON."""
    return {
        "name": row.name,
        "aliases": list(row.aliases),
        "class": row.class_name,
        "order": row.order,
        "unet_calls": row.unet_call_formula,
        "stochastic": row.stochastic,
        "takes_eta": row.takes_eta,
        "remembers": row.is_multistep,
        "resumes_from_latents": row.resumes_from_latents,
        "schedules": list(row.schedules),
        "automatic": row.automatic,
        "min_steps": row.min_steps,
        "max_steps": row.max_steps,
        "package": row.package,
        "package_found": row.package is None or find_spec(row.package) is not None,
        "note": row.note,
    }


def _print_table(rows: list[Sampler]) -> None:
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.tables import print_columns, wrap_text

    print_columns(
        ("name", "class", "order", "calls", "noise", "resume"),
        [
            (
                row.name,
                row.class_name.removesuffix("Scheduler"),
                row.order,
                row.unet_call_formula,
                "yes" if row.stochastic else "eta" if row.takes_eta else "no",
                "latents" if row.resumes_from_latents else "all",
            )
            for row in rows
        ],
    )
    by_schedules: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        by_schedules.setdefault(row.schedules, []).append(row.name)
    print_lines(["", "schedules"])
    for schedules, names in by_schedules.items():
        print_lines([*wrap_text(", ".join(schedules), 2), *wrap_text(", ".join(names), 4)])
    notes = [f"{row.name}: {sampler_notes(row)}" for row in rows if sampler_notes(row)]
    if notes:
        lines = [line for note in notes for line in wrap_text(note, 2, hanging=2)]
        print_lines(["", "notes", *lines])
