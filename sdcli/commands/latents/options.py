"""What several of the verbs on latents ask for, and what they make of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdcli.errors import UsageError
from sdcli.latents import NOISE, XT
from sdcli.request import PipelineSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.storage.latents.reader import LatentsFile

    Look = Callable[[NDArray[np.float32]], NDArray[np.uint8]]

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
    there = dump.steps_of(kind)
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


@dataclass(frozen=True, kw_only=True)
class RendererOptions:
    """What latents are looked at through, as the options say it; left out, what their run had."""

    model: str | None = None
    vae: str | None = None
    force_vae: bool = False
    tiling: str | None = None
    device: str = "auto"
    offline: bool = False

    def spec(self, dump: LatentsFile) -> PipelineSpec:
        """What to load for this file: the model that made it, unless others are named."""
        made = dump.request.spec if "request" in dump.record else PipelineSpec()
        spec = replace(
            made,
            device=self.device,
            offline=self.offline or made.offline,
            force_vae=self.force_vae or made.force_vae,
        )
        if self.model is not None:
            spec = replace(spec, model=self.model, vae=None, variant=None)
        return spec if self.vae is None else replace(spec, vae=self.vae)


def linear_renderer(dump: LatentsFile, model: str | None) -> Look:
    """Latents to pixels by the linear map of the model that made them; loads nothing."""
    from sdcli.engine import preview

    try:
        return preview.linear_renderer(
            RendererOptions(model=model, offline=True).spec(dump), dump.shape[0]
        )
    except UsageError as error:
        raise UsageError(
            f"{dump.path}: {error.message}", code=error.code, hint=error.hint
        ) from error


def vae_renderer(spec: PipelineSpec, tiling: str | None) -> Look:
    """Latents to pixels by the VAE that `spec` names."""
    from sdcli.engine import preview
    from sdcli.terminal.console import Console

    return preview.vae_renderer(spec, Console().warn, tiling or "auto")


def choose_renderer(dump: LatentsFile, through: RendererOptions) -> Look:
    """Through a VAE where one is named, else by the linear map."""
    if through.vae is not None:
        return vae_renderer(through.spec(dump), through.tiling)
    if through.force_vae or through.tiling:
        raise UsageError(
            "--force-vae and --vae-tiling do nothing without a VAE",
            code="usage.vae",
            hint="add --vae own, or another one",
        )
    return linear_renderer(dump, through.model)


def unit_variance_latents(dump: LatentsFile, kind: str, step: int) -> Any:
    """Latents of a step; x_t of schedulers that count noise in sigmas brought to variance 1."""
    if kind == XT and step == 0 and NOISE in dump.tensors:
        return dump.named(NOISE)
    latents, sigmas = dump.array(kind, step), dump.record.get("sigmas")
    if kind != XT or dump.init_noise_sigma <= 1.0 or not sigmas or step >= len(sigmas):
        return latents
    return latents / (1 + sigmas[step] ** 2) ** 0.5


def render_frames(dump: LatentsFile, kind: str, steps: Sequence[int], look: Look) -> list[Any]:
    """Pixels (height, width, 3) of a kind at those steps."""
    return [look(unit_variance_latents(dump, kind, step)) for step in steps]


def print_path(path: str, json: bool, **facts: object) -> None:
    """One written file on stdout."""
    from sdcli.storage import files
    from sdcli.terminal.json_output import print_json_line

    if json:
        print_json_line({"schema": "sdcli/written/1", "path": path, **facts})
    elif path != "-":
        with files.os_errors_as_output_errors("stdout"):
            print(path, flush=True)


def print_images(written: Iterable[tuple[str, Mapping[str, object]]], json: bool) -> None:
    """Each written image on stdout as it comes, or all in one document; each with its facts."""
    from sdcli.terminal.json_output import print_json_line

    if json:
        images = [{"path": path, **facts} for path, facts in written]
        print_json_line({"schema": "sdcli/written-images/1", "images": images})
    else:
        for path, _ in written:
            print_path(path, json=False)
