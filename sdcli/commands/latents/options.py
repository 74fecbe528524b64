"""Define and parse the options that several `latents` commands share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.typer_options import group_option
from sdcli.errors import UsageError, quoted
from sdcli.run_flags import SheetFlags
from sdcli.workflows.render_latents import RendererOptions

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile


Kind = Literal["xt", "x0"]

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A .latents.safetensors file, or its image."),
]
Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE…", help="Files of latents, or their images."),
]
Steps = Annotated[
    str | None,
    typer.Option("--steps", metavar="1,5,9|all", help="Steps of the run. Default: the last."),
]
AllSteps = Annotated[
    str | None, typer.Option("--steps", metavar="1,5,9|all", help="Steps of the run.")
]
KindOption = Annotated[
    Kind, typer.Option("--kind", help="xt: noisy latents; x0: the predicted clean ones.")
]
DecodeVae = Annotated[
    str | None,
    typer.Option(
        "--vae",
        metavar="VAE",
        help="VAE to decode with; 'own' is the run's. Default: a fast linear approximation.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="Use the VAE of this model instead of the run's."
    ),
]
Scale = Annotated[int, group_option(SheetFlags, "scale", min=1, max=16)]
NoLabels = Annotated[
    bool, typer.Option("--no-labels", help="Animations only of the images, without text.")
]
Fps = Annotated[float, typer.Option("--fps", help="Frames per second, 0.1 to 50.")]


@dataclass(frozen=True, kw_only=True)
class RendererFlags:
    """The VAE to render latents with, or none for a linear approximation, and where it runs."""

    vae: DecodeVae = None
    force_vae: flags.ForceVae = False
    vae_tiling: flags.VaeTiling = None
    model: Model = None
    device: flags.Device = "auto"
    backend: flags.Backend = None
    offline: flags.Offline = False

    def options(self) -> RendererOptions:
        """The options of `sdcli.workflows.render_latents`."""
        return RendererOptions(
            model=self.model,
            vae=self.vae,
            force_vae=self.force_vae,
            tiling=self.vae_tiling,
            device=self.device,
            backend=self.backend,
            offline=self.offline,
        )


@dataclass(frozen=True, kw_only=True)
class DecoderFlags(RendererFlags):
    """The VAE to decode latents with, by default that of their run."""

    vae: flags.Vae = None


def parse_steps(text: str | None, file: LatentsFile, kind: str) -> list[int]:
    """Parse `--steps` for a file. Raises UsageError for steps that have no tensor of the kind."""
    available = file.steps(kind)
    if text is None or text == "all":
        if not available:
            raise UsageError(
                f"{file.path}: no {kind} of any step",
                code="latents.no_step",
                hint="save them with --save-latents all",
            )
        return available if text else available[-1:]
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", text):
        raise UsageError(
            f"--steps: expected 'all' or step numbers such as 1,5,9, not {quoted(text)}",
            code="usage.steps",
        )
    steps = [int(number) for number in text.split(",")]
    for step in steps:
        if step not in available:
            raise UsageError(
                f"{file.path}: no {kind} of step {step}",
                code="latents.no_step",
                hint=f"it has {kind} of steps: {', '.join(map(str, available)) or 'none'}",
            )
    return steps


def check_fps(fps: float) -> None:
    """Raise UsageError for a frame rate that viewers do not play."""
    if not 0.1 <= fps <= 50:
        raise UsageError(f"--fps: {fps:g} is not between 0.1 and 50", code="usage.fps")
