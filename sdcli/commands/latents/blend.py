"""`sdcli latents blend`: from one picture to another by way of their latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.terminal.printing import print_path
from sdcli.workflows.render_latents import RendererOptions, vae_renderer

Slerp = Annotated[
    bool, typer.Option("--slerp", help="Along the arc, which keeps the contrast, not the line.")
]
Frames = Annotated[int, typer.Option("--frames", help="Pictures, both ends included; 2 to 1000.")]


def blend(
    first: options.File,
    second: options.File,
    slerp: Slerp = False,
    frames: Frames = 9,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    model: options.Model = None,
    fps: options.Fps = 8.0,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    jsonl: flags.JsonLines = False,
) -> None:
    """Blend the last latents of two runs and decode the frames between.

    \b
    Examples:
      sdcli latents blend a.png b.png --frames 5
      sdcli latents blend a.png b.png --slerp --frames 16 -o morph.gif
    """
    from sdcli.numerics.latents import interpolate
    from sdcli.storage.images import animation
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.reader import read_latents_file

    if not 2 <= frames <= 1000:
        raise UsageError(f"--frames: {frames} is not between 2 and 1000", code="usage.frames")
    options.check_fps(fps)
    a, b = read_latents_file(first), read_latents_file(second)
    start, end = a.final(), b.final()
    if a.shape != b.shape:
        raise UsageError(
            f"{a.path} has latents of {a.shape}, {b.path} of {b.shape}",
            code="latents.shape",
            hint="blend runs of one model and one size",
        )
    moving = Path(out).suffix.lower() in animation.SUFFIXES
    target = animation.prepare_animation(out, force=force) if moving else None
    destination = None if moving else parse_destination(out, several=True, force=force, json=jsonl)
    through = RendererOptions(
        model=model, vae=vae, force_vae=force_vae, tiling=vae_tiling, device=device, offline=offline
    )
    look = vae_renderer(through.pipeline_spec(a), vae_tiling)
    name = f"{a.name}-to-{b.name}"
    drawn = []
    for frame in range(frames):
        part = frame / (frames - 1)
        pixels = look(interpolate(start, end, part, spherical=slerp))
        if destination:
            print_path(write_pixels(pixels, destination, name), jsonl, frame=frame)
        else:
            drawn.append(pixels)
    if target:
        print_path(
            animation.write_animation(drawn, target, name, fps=fps, force=force),
            jsonl,
            frames=frames,
        )
