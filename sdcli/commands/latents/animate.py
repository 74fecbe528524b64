"""`sdcli latents animate`: the steps of a run as a moving picture."""

from __future__ import annotations

from sdcli.commands import options
from sdcli.commands.latents import choices


def animate(
    file: choices.File,
    steps: choices.Steps = "all",
    kind: choices.KindOption = "x0",
    vae: choices.DecodeVae = None,
    force_vae: options.ForceVae = False,
    vae_tiling: options.VaeTiling = None,
    model: choices.Model = None,
    fps: choices.Fps = 8.0,
    device: options.Device = "auto",
    out: options.Out = "outputs",
    force: options.Force = False,
    offline: options.Offline = False,
    json: options.Json = False,
) -> None:
    """Make a GIF, a WebP or an MP4 of the steps of a run.

    \b
    Examples:
      sdcli latents animate outputs/0001-a-cat-7.latents.safetensors
      sdcli latents animate outputs/0001-a-cat-7.png --vae own --kind xt --fps 12 -o cat.webp
    """
    from sdcli.output import animation, dumps

    dump = dumps.read_latents_file(file)
    wanted = choices.parse_steps(steps or "all", dump, kind)
    choices.check_fps(fps)
    target = animation.prepare_animation(out, force=force)
    through = choices.RendererOptions(
        model=model, vae=vae, force_vae=force_vae, tiling=vae_tiling, device=device, offline=offline
    )
    look = choices.choose_renderer(dump, through)
    frames = choices.render_frames(dump, kind, wanted, look)
    path = animation.write_animation(frames, target, f"{dump.name}-{kind}", fps=fps, force=force)
    choices.print_path(path, json, steps=wanted, kind=kind)
