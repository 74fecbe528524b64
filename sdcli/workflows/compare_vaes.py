"""Encode and decode one image through several VAEs, and compare the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.request import EMBEDDED, PipelineSpec
from sdcli.workflows.decode_latents import spec_for_latents

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.storage.latents.tensor_reader import LatentsTensor


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

        labels = [_column_label(summary_row(row)) for row in self.rows]
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


def summary_row(row: dict[str, Any]) -> dict[str, str | None]:
    """A row of the comparison, formatted for a table."""
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
