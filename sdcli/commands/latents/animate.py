"""Define `sdcli latents animate`: make an animation of the steps of a run."""

from __future__ import annotations

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.run_flags import OutputFlags
from sdcli.terminal.printing import print_path
from sdcli.workflows.render_latents import choose_renderer, render_frames


@expand_groups
def animate(
    *,
    file: options.File,
    steps: options.Steps = "all",
    kind: options.KindOption = "x0",
    renderer: options.RendererFlags,
    fps: options.Fps = 8.0,
    output: OutputFlags,
    json: flags.Json = False,
) -> None:
    """Make a GIF, WebP or MP4 animation of the steps of a run.

    \b
    Examples:
      sdcli latents animate outputs/0001-a-cat-7.latents.safetensors
      sdcli latents animate cat.png --vae own --kind xt --fps 12 -o cat.webp
    """
    from sdcli.storage.images import animation
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console

    latents = read_latents_file(file)
    selected = options.parse_steps(steps or "all", latents, kind)
    options.check_fps(fps)
    target = animation.prepare_animation(output.out, force=output.force)
    render = choose_renderer(latents, renderer.options(), Console().warn)
    frames = render_frames(latents, kind, selected, render)
    name = f"{latents.name}-{kind}"
    path = animation.write_animation(frames, target, name, fps=fps, force=output.force)
    print_path(path, json, steps=selected, kind=kind)
