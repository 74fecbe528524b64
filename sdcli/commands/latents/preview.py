"""`sdcli latents preview`: a quick look at latents without their VAE."""

from __future__ import annotations

from collections.abc import Iterator

from sdcli.commands import options
from sdcli.commands.latents import choices


def preview(
    files: choices.Files,
    model: choices.Model = None,
    steps: choices.Steps = None,
    kind: choices.KindOption = "xt",
    out: options.Out = "outputs",
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Show latents as rough pictures, by a linear map to colours: no VAE, no torch, no wait.

    \b
    Examples:
      sdcli latents preview outputs/0001-a-cat-7.latents.safetensors
      sdcli latents preview outputs/0001-a-cat-7.png --steps 1,5,9 --kind x0 -o looks
    """
    from sdcli.output import dumps, images

    read = [dumps.read_latents_file(file) for file in files]
    chosen = [(dump, choices.parse_steps(steps, dump, kind)) for dump in read]
    several = sum(len(wanted) for _, wanted in chosen) > 1
    destination = images.parse_destination(out, several=several, force=force, json=json)

    def written() -> Iterator[tuple[str, dict[str, object]]]:
        for dump, wanted in chosen:
            look = choices.linear_renderer(dump, model)
            frames = choices.render_frames(dump, kind, wanted, look)
            for step, pixels in zip(wanted, frames, strict=True):
                name = f"{dump.name}-preview-{kind}-{step:04d}"
                path = images.write_pixels(pixels, destination, name)
                yield path, {"step": step, "kind": kind}

    choices.print_images(written(), json)
