"""`sdcli latents preview`: a quick look at latents without their VAE."""

from __future__ import annotations

from collections.abc import Iterator

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.terminal.printing import print_images
from sdcli.workflows.render_latents import linear_renderer, render_frames


def preview(
    files: options.Files,
    model: options.Model = None,
    steps: options.Steps = None,
    kind: options.KindOption = "xt",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    json: flags.Json = False,
) -> None:
    """Show latents as rough pictures, by a linear map to colours: no VAE, no torch, no wait.

    \b
    Examples:
      sdcli latents preview outputs/0001-a-cat-7.latents.safetensors
      sdcli latents preview outputs/0001-a-cat-7.png --steps 1,5,9 --kind x0 -o looks
    """
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.reader import read_latents_file

    read = [read_latents_file(file) for file in files]
    chosen = [(dump, options.parse_steps(steps, dump, kind)) for dump in read]
    several = sum(len(wanted) for _, wanted in chosen) > 1
    destination = parse_destination(out, several=several, force=force, json=json)

    def written() -> Iterator[tuple[str, dict[str, object]]]:
        for dump, wanted in chosen:
            look = linear_renderer(dump, model)
            frames = render_frames(dump, kind, wanted, look)
            for step, pixels in zip(wanted, frames, strict=True):
                name = f"{dump.name}-preview-{kind}-{step:04d}"
                path = write_pixels(pixels, destination, name)
                yield path, {"step": step, "kind": kind}

    print_images(written(), json)
