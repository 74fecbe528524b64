"""Define `sdcli latents animate`: make an animation of the steps of a run."""

from __future__ import annotations

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.run_flags import OutputFlags
from sdcli.terminal.printing import print_path
from sdcli.workflows.render_latents import choose_renderer, render_frames, step_label


@expand_groups
def animate(
    *,
    file: options.File,
    steps: options.AllSteps = "all",
    kind: options.KindOption = "x0",
    renderer: options.RendererFlags,
    fps: options.Fps = 8.0,
    scale: options.Scale = 1,
    no_labels: options.NoLabels = False,
    output: OutputFlags,
    json: flags.Json = False,
) -> None:
    """Make a GIF, WebP or MP4 animation of the steps of a run, with their numbers.

    \b
    Examples:
      sdcli latents animate outputs/0001-a-cat-7.latents.safetensors
      sdcli latents animate outputs/0001-a-cat-7.png --vae own --kind xt --fps 12 -o cat.webp
      sdcli latents animate outputs/0001-a-cat-7.png --scale 4 --no-labels -o cat.gif
    """
    from sdcli.storage.images import animation
    from sdcli.storage.images.frame_labels import label_frames
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console

    latents = read_latents_file(file)
    selected = options.parse_steps(steps or "all", latents, kind)
    options.check_fps(fps)
    target = animation.prepare_animation(output.out, force=output.force)
    render = choose_renderer(latents, renderer.options(), Console().warn)
    frames = render_frames(latents, kind, selected, render)
    labels = ["" if no_labels else step_label(latents, step) for step in selected]
    frames = label_frames(frames, labels, scale=scale)
    name = f"{latents.name}-{kind}"
    path = animation.write_animation(frames, target, name, fps=fps, force=output.force)
    print_path(path, json, steps=selected, kind=kind)
