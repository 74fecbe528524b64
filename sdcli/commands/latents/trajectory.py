"""`sdcli latents path`: how far each step was from the end, and how straight the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.latents import NOISE, X0, XT, LatentsSelection
from sdcli.workflows.render_latents import unit_variance_latents

if TYPE_CHECKING:
    from sdcli.storage.latents.reader import LatentsFile


def path(file: File, json: flags.Json = False) -> None:
    """Show how far each step still is from the end of its run, and how straight the way was.

    Distances are RMSE of latents. The angle is between the leg that ends at a step and the next
    one: 0 is straight on. `x0 off` is how wrong the model's guess of the end was. Noisy latents of
    schedulers that count noise in sigmas are first brought to the size of the others'. An image
    without latents beside it is drawn again for them.

    \b
    Examples:
      sdcli latents path outputs/0001-a-cat-7.latents.safetensors
      sdcli latents path outputs/0001-a-cat-7.png --json
    """
    from sdcli.storage.latents.reader import has_latents, read_latents_file
    from sdcli.terminal.json_output import print_json_line
    from sdcli.terminal.tables import print_columns, print_lines, text_bar

    if has_latents(file):
        document = _walk(read_latents_file(file), file)
    else:
        from sdcli.terminal.console import Console
        from sdcli.workflows.replay import regenerate_latents

        with regenerate_latents(
            file, LatentsSelection(kinds=(NOISE, XT, X0), every=1), Console().warn
        ) as dump:
            document = _walk(dump, file)
    if json:
        print_json_line(document)
        return
    rows = document["steps"]
    top = max(row["distance"] for row in rows)
    print_columns(
        ("step", "t", "to the end", "angle", "x0 off", ""),
        [
            (
                str(row["step"]),
                _number(row["timestep"], ".0f"),
                f"{row['distance']:.4f}",
                _number(row["angle"], ".1f"),
                _number(row["x0_distance"], ".4f"),
                text_bar(row["distance"], top),
            )
            for row in rows
        ],
    )
    print_lines([f"straightness {document['straightness']:.3f} (1 is a straight line)"])


def _walk(dump: LatentsFile, file: str) -> dict[str, Any]:
    from sdcli.numerics.latents import angles, straightness
    from sdcli.numerics.metrics import rmse

    end, steps = dump.final(), dump.steps(XT)
    if len(steps) < 3:
        raise UsageError(
            f"{dump.path}: {len(steps)} steps are no way",
            code="latents.no_step",
            hint="dump them with --save-latents all",
        )
    points = [unit_variance_latents(dump, XT, step) for step in steps]
    turns = [None, *angles(points), None]
    guesses = set(dump.steps(X0))
    rows = [
        {
            "step": step,
            "timestep": dump.timestep(step),
            "distance": rmse(point, end),
            "angle": turn,
            "x0_distance": rmse(dump.tensor(X0, step), end) if step in guesses else None,
        }
        for step, point, turn in zip(steps, points, turns, strict=True)
    ]
    return {
        "schema": "sdcli/latents-path/1",
        "path": file,
        "straightness": straightness(points),
        "steps": rows,
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
