"""What several of the verbs on latents ask for, and what they make of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sdcli.errors import UsageError

if TYPE_CHECKING:
    from sdcli.storage.latents.reader import LatentsFile


Kind = Literal["xt", "x0"]

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A .latents.safetensors file, or the image beside it."),
]
Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE…", help="Files of latents, or the images beside them."),
]
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps", metavar="1,5,9|all", help="Which steps of the run; the last if left out."
    ),
]
KindOption = Annotated[
    Kind, typer.Option("--kind", help="xt, the noisy latents, or x0, the predicted clean ones.")
]
DecodeVae = Annotated[
    str | None,
    typer.Option(
        "--vae",
        metavar="VAE",
        help="Decode with a VAE ('own' is the run's); left out, a quick linear look.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="Another model's VAE than that of the run."
    ),
]
Fps = Annotated[float, typer.Option("--fps", help="Frames a second, 0.1 to 50.")]


def parse_steps(text: str | None, dump: LatentsFile, kind: str) -> list[int]:
    """The steps that `--steps` means in this file. Raises UsageError for those it lacks."""
    there = dump.steps(kind)
    if text is None or text == "all":
        if not there:
            raise UsageError(
                f"{dump.path}: no {kind} of any step",
                code="latents.no_step",
                hint="dump them with --save-latents all",
            )
        return there if text else there[-1:]
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", text):
        raise UsageError(f"--steps: {text!r} is not all or as in 1,5,9", code="usage.steps")
    steps = [int(number) for number in text.split(",")]
    for step in steps:
        if step not in there:
            raise UsageError(
                f"{dump.path}: no {kind} of step {step}",
                code="latents.no_step",
                hint=f"it has {', '.join(map(str, there)) or 'none'}",
            )
    return steps


def check_fps(fps: float) -> float:
    """Raises UsageError for what no viewer plays."""
    if not 0.1 <= fps <= 50:
        raise UsageError(f"--fps: {fps:g} is not between 0.1 and 50", code="usage.fps")
    return fps
