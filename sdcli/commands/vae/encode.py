"""`sdcli vae encode`: images to latents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import build_pipeline_spec, parse_verbosity
from sdcli.commands.vae.per_file import FileResults
from sdcli.errors import ExitCode, UsageError
from sdcli.planning.resolve import random_seed
from sdcli.request import EMBEDDED

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files.")]
Out = Annotated[
    str,
    typer.Option(
        "--out", "-o", help="A folder, or a .safetensors file (numbered).", metavar="PATH"
    ),
]
Sample = Annotated[
    bool, typer.Option("--sample", help="Draw from the VAE's distribution; else its mean.")
]


def encode(
    files: Images,
    model: flags.Model = EMBEDDED,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    sample: Sample = False,
    seed: flags.Seed = None,
    variant: flags.Variant = None,
    dtype: flags.Dtype = None,
    device: flags.Device = "auto",
    out: Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Encode images to latents and print the files' paths.

    \b
    Examples:
      sdcli vae encode photo.png
      sdcli vae encode a.png b.jpg --sample --seed 7 -o latents
      sdcli vae encode photo.png --vae tiny -o photo.latents.safetensors
    """
    if seed is not None and not sample:
        raise UsageError(
            "--seed does nothing without --sample: the mean is one",
            code="usage.seed",
            hint="add --sample",
        )
    spec = build_pipeline_spec(model, vae, variant, dtype, device, offline, force_vae)
    tally = FileResults(
        "sdcli/vae-encode/1", "latents", json=json, verbosity=parse_verbosity(quiet, verbose)
    )
    from sdcli import engine
    from sdcli.storage.latents.encoded_image import prepare_latents_output, write_encoded_latents

    several = len(files) > 1
    home = prepare_latents_output(out, several=several, force=force)
    loaded = engine.load_vae(spec)
    if sample and seed is None:
        seed = random_seed()

    def work(item: tuple[int, str]) -> Iterator[dict[str, Any]]:
        index, file = item
        own = None if seed is None else seed + index
        latents, facts = _encode(loaded, Path(file).expanduser(), own, vae_tiling or "auto")
        path = write_encoded_latents(latents, facts, home, several=several, force=force)
        yield {"path": path, **facts, "shape": list(latents.shape)}

    return tally.run(enumerate(files), work)


def _encode(loaded: Any, file: Path, seed: int | None, tiling: str) -> tuple[Any, dict[str, Any]]:
    """Latents of an image file, and what is to be told of them."""
    from sdcli.engine.vae.encode import encode_image
    from sdcli.storage.images.pixels import read_pixels
    from sdcli.storage.metadata.record import pixels_sha256
    from sdcli.versions import library_versions

    pixels, notes = read_pixels(file, grid=loaded.facts.vae_scale_factor)
    latents, events = encode_image(loaded, pixels, seed=seed, tiling=tiling)
    spec = loaded.spec
    facts = {
        "image": file.name,
        "pixels_sha256": pixels_sha256(pixels),
        "model": spec.model,
        "vae": spec.vae,
        "force_vae": spec.force_vae,
        "variant": spec.variant,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "scaling_factor": loaded.facts.scaling_factor,
        "seed": seed,
        "weights": loaded.hashes.result(),
        "versions": dict(library_versions()),
        "events": [*loaded.notes, *notes, *events],
    }
    return latents, facts
