"""Define `sdcli latents animate`: make an animation of the steps of a run."""

from __future__ import annotations

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.terminal.printing import print_path
from sdcli.workflows.render_latents import RendererOptions, choose_renderer, render_frames


def animate(
    file: options.File,
    steps: options.Steps = "all",
    kind: options.KindOption = "x0",
    vae: options.DecodeVae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    model: options.Model = None,
    fps: options.Fps = 8.0,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
) -> None:
    """Make a GIF, WebP or MP4 animation of the steps of a run.

    \b
    Examples:
      sdcli latents animate outputs/0001-a-cat-7.latents.safetensors
      sdcli latents animate outputs/0001-a-cat-7.png --vae own --kind xt --fps 12 -o cat.webp
    """
    from sdcli.storage.images import animation
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console

    latents = read_latents_file(file)
    selected = options.parse_steps(steps or "all", latents, kind)
    options.check_fps(fps)
    target = animation.prepare_animation(out, force=force)
    renderer_options = RendererOptions(
        model=model, vae=vae, force_vae=force_vae, tiling=vae_tiling, device=device, offline=offline
    )
    render = choose_renderer(latents, renderer_options, Console().warn)
    frames = render_frames(latents, kind, selected, render)
    name = f"{latents.name}-{kind}"
    path = animation.write_animation(frames, target, name, fps=fps, force=force)
    print_path(path, json, steps=selected, kind=kind)
