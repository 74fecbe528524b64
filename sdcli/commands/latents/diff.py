"""`sdcli latents diff`: where two runs part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.workflows.render_latents import unit_variance_latents

if TYPE_CHECKING:
    from sdcli.storage.latents.reader import LatentsFile

_APART = 0.05
"""A difference of that part of the second's own size is a parting."""


def diff(
    first: File,
    second: File,
    kind: Annotated[
        Literal["xt", "x0", "eps"], typer.Option("--kind", help="What to compare.")
    ] = "xt",
    json: flags.Json = False,
) -> None:
    """Compare two runs step by step: where do they part?

    `relative` is the RMSE over the second's own size. Noisy latents of schedulers that count noise
    in sigmas are first brought to the size of the others'.

    \b
    Examples:
      sdcli latents diff a.latents.safetensors b.latents.safetensors
      sdcli latents diff a.png b.png --kind x0 --json
    """
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.json_output import print_json_line
    from sdcli.terminal.tables import print_columns, print_lines, text_bar

    a, b = read_latents_file(first), read_latents_file(second)
    rows = _compare(a, b, kind)
    parting = next((row["step"] for row in rows if row["relative"] > _APART), None)
    if json:
        document = {"schema": "sdcli/latents-diff/1", "first": str(a.path), "second": str(b.path)}
        print_json_line({**document, "kind": kind, "steps": rows, "parting": parting})
        return
    top = max(row["relative"] for row in rows)
    print_columns(
        ("step", "t", "rmse", "relative", "cosine", ""),
        [
            (
                str(row["step"]),
                _times(row["timesteps"]),
                f"{row['rmse']:.5f}",
                f"{row['relative']:.1%}",
                f"{row['cosine']:.5f}",
                text_bar(row["relative"], top),
            )
            for row in rows
        ],
    )
    print_lines([_verdict(rows, parting), *_unlike_times(rows)])


def _compare(a: LatentsFile, b: LatentsFile, kind: str) -> list[dict[str, Any]]:
    from sdcli.numerics.metrics import cosine, rmse

    if a.shape != b.shape:
        raise UsageError(
            f"{a.path} has latents of {a.shape}, {b.path} of {b.shape}",
            code="latents.shape",
            hint="compare runs of one model and one size",
        )
    common = sorted(set(a.steps(kind)) & set(b.steps(kind)))
    if not common:
        raise UsageError(
            f"{a.path} and {b.path} have no step of {kind} in common",
            code="latents.no_step",
            hint="dump both with --save-latents all",
        )
    rows = []
    for step in common:
        one, other = unit_variance_latents(a, kind, step), unit_variance_latents(b, kind, step)
        distance, size = rmse(one, other), rmse(other, 0 * other)
        rows.append(
            {
                "step": step,
                "timesteps": [a.timestep(step), b.timestep(step)],
                "rmse": distance,
                "relative": distance / size if size else float(distance > 0),
                "cosine": cosine(one, other),
            }
        )
    return rows


def _times(pair: list[float | None]) -> str:
    """One timestep where both runs have it, else both."""
    shown = ["" if t is None else f"{t:.0f}" for t in pair]
    return shown[0] if shown[0] == shown[1] else " | ".join(shown)


def _unlike_times(rows: list[dict[str, Any]]) -> list[str]:
    if all(_times(row["timesteps"]).find("|") < 0 for row in rows):
        return []
    return ["the runs' steps are at other times: part of the difference is noise still to go"]


def _verdict(rows: list[dict[str, Any]], parting: int | None) -> str:
    unequal = next((row["step"] for row in rows if row["rmse"] > 0), None)
    if unequal is None:
        return "equal to the bit at every step that both have"
    if parting is None:
        return f"first unequal at step {unequal}, never more than {_APART:.0%} apart"
    return f"first unequal at step {unequal}, more than {_APART:.0%} apart from step {parting} on"
