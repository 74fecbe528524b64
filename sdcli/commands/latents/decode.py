"""`sdcli latents decode`: latents to images through a VAE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sdcli.commands.latents import options
from sdcli.commands.options import flags
from sdcli.latents import XT
from sdcli.terminal.printing import print_images
from sdcli.workflows.render_latents import RendererOptions, render_frames, vae_renderer

if TYPE_CHECKING:
    from sdcli.latents import LatentsRenderer
    from sdcli.request import PipelineSpec
    from sdcli.storage.latents.reader import LatentsFile


def decode(
    files: options.Files,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    model: options.Model = None,
    steps: options.Steps = None,
    kind: options.KindOption = "xt",
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
) -> None:
    """Decode latents to images, with the VAE of their run or another one.

    The last latents are the image of the run, to the bit.

    \b
    Examples:
      sdcli latents decode outputs/0001-a-cat-7.latents.safetensors
      sdcli latents decode outputs/*.latents.safetensors --vae tiny -o tiny
      sdcli latents decode outputs/0001-a-cat-7.png --steps all --kind x0 -o steps
    """
    from sdcli.storage.images.destination import parse_destination
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.reader import read_latents_file

    read = [read_latents_file(file) for file in files]
    chosen = [(dump, _steps(dump, steps, kind)) for dump in read]
    several = sum(len(wanted) for _, wanted in chosen) > 1
    destination = parse_destination(out, several=several, force=force, json=json)
    through = RendererOptions(
        model=model, vae=vae, force_vae=force_vae, tiling=vae_tiling, device=device, offline=offline
    )

    def written() -> Iterator[tuple[str, dict[str, object]]]:
        looks: dict[Any, LatentsRenderer] = {}  # of one VAE at a time
        for dump, wanted in chosen:
            spec = through.pipeline_spec(dump)
            tiling = vae_tiling or dump.record.get("request", {}).get("vae_tiling")
            if (spec, tiling) not in looks:
                looks = {(spec, tiling): vae_renderer(spec, tiling)}
            for step in wanted:
                [pixels] = render_frames(dump, kind, [step], looks[spec, tiling])
                ended = kind == XT and step == dump.num_steps
                name = dump.name if ended else f"{dump.name}-{kind}-{step:04d}"
                record = _record(dump, spec, tiling, pixels) if ended else None
                path = write_pixels(pixels, destination, name, record)
                yield path, {"step": step, "kind": kind}

    print_images(written(), json)


def _steps(dump: LatentsFile, steps: str | None, kind: str) -> list[int]:
    if steps is None and kind == XT:
        dump.final()
        return [dump.num_steps]
    return options.parse_steps(steps, dump, kind)


def _record(
    dump: LatentsFile, spec: PipelineSpec, tiling: str | None, pixels: Any
) -> dict[str, Any] | None:
    """The run's record with these pixels, and of what they were decoded with.

    None when the run was not told to its end, or when the VAE is another model's: no one request
    makes that picture.
    """
    from sdcli.storage.metadata.record import pixels_sha256

    if "pixels" not in dump.record or spec.model != dump.request.spec.model:
        return None
    record = dict(dump.record)
    was = record["request"]
    record["request"] = was | {
        "vae": spec.vae,
        "force_vae": spec.force_vae,
        "vae_tiling": tiling,
    }
    if spec.vae != was.get("vae"):
        record["weights"] = {k: v for k, v in record["weights"].items() if k != "vae"}
    height, width, _ = pixels.shape
    shown = {"width": width, "height": height, "sha256": pixels_sha256(pixels)}
    return record | {"pixels": shown}
