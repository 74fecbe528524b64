"""`sdcli latents blend`: from one picture to another by way of their latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcli.commands import options
from sdcli.commands.latents import choices
from sdcli.errors import UsageError

Slerp = Annotated[
    bool, typer.Option("--slerp", help="Along the arc, which keeps the contrast, not the line.")
]
Frames = Annotated[int, typer.Option("--frames", help="Pictures, both ends included; 2 to 1000.")]


def blend(
    first: choices.File,
    second: choices.File,
    slerp: Slerp = False,
    frames: Frames = 9,
    vae: options.Vae = None,
    force_vae: options.ForceVae = False,
    vae_tiling: options.VaeTiling = None,
    model: choices.Model = None,
    fps: choices.Fps = 8.0,
    device: options.Device = "auto",
    out: options.Out = "outputs",
    force: options.Force = False,
    offline: options.Offline = False,
    jsonl: options.JsonLines = False,
) -> None:
    """Blend the last latents of two runs and decode the frames between.

    \b
    Examples:
      sdcli latents blend a.png b.png --frames 5
      sdcli latents blend a.png b.png --slerp --frames 16 -o morph.gif
    """
    from sdcli.engine import trajectories
    from sdcli.output import animation, dumps, images

    if not 2 <= frames <= 1000:
        raise UsageError(f"--frames: {frames} is not between 2 and 1000", code="usage.frames")
    choices.check_fps(fps)
    a, b = dumps.read_latents_file(first), dumps.read_latents_file(second)
    start, end = a.final(), b.final()
    if a.shape != b.shape:
        raise UsageError(
            f"{a.path} has latents of {a.shape}, {b.path} of {b.shape}",
            code="latents.shape",
            hint="blend runs of one model and one size",
        )
    moving = Path(out).suffix.lower() in animation.SUFFIXES
    target = animation.prepare_animation(out, force=force) if moving else None
    destination = (
        None if moving else images.parse_destination(out, several=True, force=force, json=jsonl)
    )
    through = choices.RendererOptions(
        model=model, vae=vae, force_vae=force_vae, tiling=vae_tiling, device=device, offline=offline
    )
    look = choices.vae_renderer(through.spec(a), vae_tiling)
    name = f"{a.name}-to-{b.name}"
    drawn = []
    for frame in range(frames):
        part = frame / (frames - 1)
        pixels = look(trajectories.interpolate(start, end, part, spherical=slerp))
        if destination:
            choices.print_path(images.write_pixels(pixels, destination, name), jsonl, frame=frame)
        else:
            drawn.append(pixels)
    if target:
        choices.print_path(
            animation.write_animation(drawn, target, name, fps=fps, force=force),
            jsonl,
            frames=frames,
        )
