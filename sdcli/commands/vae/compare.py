"""`sdcli vae compare`: one picture, or one latent, through several VAEs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_dtype, parse_verbosity
from sdcli.commands.vae.decode import Model, Tensor, spec_for_latents
from sdcli.errors import ExitCode, UsageError
from sdcli.request import EMBEDDED, PipelineSpec
from sdcli.terminal.printing import print_document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.storage.latents.tensor_reader import LatentsTensor

Target = Annotated[str, typer.Argument(metavar="LATENTS|IMAGE", help="What to put through them.")]
Vaes = Annotated[
    str,
    typer.Option("--vaes", help="Names of `sdcli vae list`, ids, folders, files.", metavar="A,B,…"),
]


def compare(
    target: Target,
    vaes: Vaes = "own,tiny",
    model: Model = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    tensor: Tensor = None,
    variant: flags.Variant = None,
    dtype: flags.Dtype = None,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> ExitCode:
    """Decode one latent with several VAEs, or send an image there and back through each.

    The table has seconds, memory, and the likeness (PSNR in dB, SSIM) to the image, or for latents
    to the first VAE's picture. Memory is what the work took at most, beyond the VAE itself.

    \b
    Examples:
      sdcli vae compare photo.png --vaes own,tiny
      sdcli vae compare cat.latents.safetensors --vaes own,tiny -o vaes.png
      sdcli vae compare photo.png --vaes sd-vae-ft-mse,taesd \\
        -m stable-diffusion-v1-5/stable-diffusion-v1-5
    """
    names = [name.strip() for name in vaes.split(",") if name.strip()]
    if not names:
        raise UsageError("--vaes: no VAE is named", code="usage.vaes", hint="as in own,tiny")
    asked: dict[str, Any] = {
        "model": model,
        "force_vae": force_vae,
        "dtype": parse_dtype(dtype),
        "variant": variant,
        "device": device,
        "offline": offline,
    }
    from sdcli.storage.images.writer import parse_destination, write_bytes
    from sdcli.terminal.console import Console

    destination = parse_destination(out, several=False, force=force, json=json)
    compared = VaeComparison(Path(target).expanduser(), names, asked, vae_tiling or "auto", tensor)
    path = write_bytes(compared.sheet(), destination, compared.name)
    document = {"schema": "sdcli/vae-compare/1", "path": path, **compared.document}
    console = Console(verbosity=parse_verbosity(quiet, 0))
    for event in compared.events:
        console.warn(event)
    print_comparison(document, json=json, quiet=quiet)
    return ExitCode.OK


class VaeComparison:
    """One target through each VAE in turn, one of them loaded at a time."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        asked: dict[str, Any],
        tiling: str,
        tensor: str | None,
    ) -> None:
        from sdcli.storage.latents.decoded_record import base_stem
        from sdcli.storage.latents.tensor_reader import is_latents, read_latents_tensor

        self.name = f"{base_stem(path)}-vaes"
        self.events: list[str] = []
        self._tiling = tiling
        self._latents: LatentsTensor | None = None
        if is_latents(path):
            self._latents = read_latents_tensor(path, tensor)
            specs = [spec_for_latents(self._latents, asked | {"vae": name}) for name in names]
        else:
            told = {key: value for key, value in asked.items() if value}
            specs = [PipelineSpec(**{"model": EMBEDDED} | told | {"vae": name}) for name in names]
        grid = self._check(specs)
        self._pixels = None if self._latents else self._read(path, grid)
        self.pictures: list[NDArray[np.uint8]] = []
        self.rows = [self._row(spec) for spec in specs]
        self.document = {
            "target": str(path),
            "reference": "input" if self._latents is None else names[0],
            "vaes": self.rows,
            "events": self.events,
        }

    def _check(self, specs: Sequence[PipelineSpec]) -> int:
        """Refuse what does not fit before anything is decoded; pixels a latent."""
        from sdcli.checkpoints.hub import fetch_model
        from sdcli.checkpoints.vae_selection import select_vae

        return max(select_vae(spec, fetch_model(spec))[0].vae_scale_factor for spec in specs)

    def _read(self, path: Path, grid: int) -> NDArray[np.uint8]:
        from sdcli.storage.images.pixels import read_pixels

        pixels, notes = read_pixels(path, grid=grid)
        self.events += notes
        return pixels

    def _row(self, spec: PipelineSpec) -> dict[str, Any]:
        from sdcli import engine
        from sdcli.engine.vae.roundtrip import round_trip

        loaded = engine.load_vae(spec)
        latents = None if self._latents is None else self._latents.array[0]
        trip = round_trip(loaded, pixels=self._pixels, latents=latents, tiling=self._tiling)
        reference = self._pixels if self._pixels is not None else next(iter(self.pictures), None)
        self.pictures.append(trip.pixels)
        self.events += [f"{spec.vae}: {event}" for event in (*loaded.notes, *trip.events)]
        return {
            "vae": spec.vae,
            "class": loaded.facts.class_name,
            "encode_seconds": trip.encode_seconds,
            "decode_seconds": trip.decode_seconds,
            "peak_bytes": trip.peak_bytes,
            **similarity(trip.pixels, reference),
        }

    def sheet(self) -> bytes:
        """The labelled grid as a PNG."""
        from sdcli.storage.images.codec import encode_image
        from sdcli.storage.images.contact_sheet import labelled_grid

        labels = [_column_label(_comparison_line(row)) for row in self.rows]
        pictures = self.pictures
        if self._pixels is not None:
            labels, pictures = ["input", *labels], [self._pixels, *pictures]
        return encode_image(labelled_grid([pictures], rows=[""], columns=labels), ".png", None)


def similarity(
    pixels: NDArray[np.uint8], reference: NDArray[np.uint8] | None
) -> dict[str, float | bool | None]:
    """PSNR and SSIM; of equal pictures the first is infinite, which JSON has no number for."""
    from sdcli.numerics.metrics import psnr, ssim

    if reference is None:
        return {"identical": None, "psnr": None, "ssim": None}
    decibels = psnr(pixels, reference)
    similar = ssim(pixels, reference) if min(pixels.shape[:2]) > 10 else None
    return {
        "identical": math.isinf(decibels),
        "psnr": None if math.isinf(decibels) else round(decibels, 2),
        "ssim": None if similar is None else round(similar, 4),
    }


def _comparison_line(row: dict[str, Any]) -> dict[str, str | None]:
    """A row as people read it."""
    seconds = row["decode_seconds"] + (row["encode_seconds"] or 0)
    peak = row["peak_bytes"]
    decibels = f"{row['psnr']:.1f} dB" if row["psnr"] is not None else None
    return {
        "vae": row["vae"],
        "seconds": f"{seconds:.3f} s",
        "peak": None if peak is None else f"{peak / 1e6:.0f} MB",
        "psnr": "equal" if row["identical"] else decibels,
        "ssim": None if row["ssim"] is None else f"{row['ssim']:.3f}",
    }


def _column_label(line: dict[str, str | None]) -> str:
    told = line | {"ssim": line["ssim"] and f"SSIM {line['ssim']}"}
    return ", ".join(value for value in told.values() if value)


def print_comparison(document: dict[str, Any], *, json: bool, quiet: bool) -> None:
    if json:
        print_document(document, json)
        return
    import sys

    from sdcli.storage import files
    from sdcli.terminal.tables import print_columns

    if not quiet:
        lines = [_comparison_line(row) for row in document["vaes"]]
        print_columns(list(lines[0]), [list(line.values()) for line in lines], sys.stderr)
    if document["path"] != "-":
        with files.os_errors_as_output_errors("stdout"):
            print(document["path"], flush=True)
