"""Compare VAEs by what they make of one image, or of the same latents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.pipeline_spec import EMBEDDED, PipelineSpec
from sdcli.run_flags import SheetFlags
from sdcli.runner.pipeline_cache import engine_lock
from sdcli.workflows.decode_latents import spec_for_latents

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_DEFAULT_SHEET: Final = SheetFlags()
_SMALLEST_SSIM_SIDE: Final = 11
"""Side of the window of SSIM in pixels."""


class VaeComparison:
    """An image or latents sent through several VAEs, of which one is loaded at a time.

    An image is encoded and decoded by each VAE and compared with the input. Latents are only
    decoded, and compared with the first VAE's image. `overrides` are fields of the PipelineSpec.
    Raises UsageError, CorruptError, and the errors of loading and decoding; VAEs that do not fit
    are rejected before anything is decoded.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        overrides: Mapping[str, Any],
        tiling: str,
        tensor: str | None,
    ) -> None:
        from sdcli.storage.latents.decoded_record import base_stem
        from sdcli.storage.latents.reader import is_latents

        self.name = f"{base_stem(path)}-vaes"
        self._title = path.name
        self.events: list[str] = []
        self.images: list[Pixels] = []
        self._tiling = tiling
        self._input: Pixels | None = None
        self._latents: NDArray[np.float32] | None = None
        if is_latents(path):
            specs = self._read_latents(path, tensor, names, overrides)
        else:
            specs = self._read_image(path, names, overrides)
        self.rows = [self._measure(spec) for spec in specs]
        self.document = {
            "target": str(path),
            "reference": names[0] if self._input is None else "input",
            "vaes": self.rows,
            "events": self.events,
        }

    def contact_sheet(self, sheet: SheetFlags = _DEFAULT_SHEET) -> bytes:
        """Return a labelled PNG of the input, if it is an image, and the image of each VAE."""
        from sdcli.storage.images.codec import encode_image
        from sdcli.storage.images.contact_sheet import labelled_grid
        from sdcli.storage.images.sheet_layout import SheetLabels

        names, images = [str(row["vae"]) for row in self.rows], self.images
        captions = [_caption(summary_row(row)) for row in self.rows]
        if self._input is not None:
            names, images = ["input", *names], [self._input, *images]
            captions = ["", *captions]
        labels = SheetLabels(rows=[""], columns=names, captions=[captions], title=self._title)
        return encode_image(labelled_grid([images], labels, sheet), ".png", None)

    def _read_latents(
        self, path: Path, tensor: str | None, names: Sequence[str], overrides: Mapping[str, Any]
    ) -> list[PipelineSpec]:
        from sdcli.storage.latents.reader import read_any_latents_file

        file = read_any_latents_file(path)
        self._latents = file.images(file.select_tensor(tensor))[0]
        specs = [spec_for_latents(file, {**overrides, "vae": name}) for name in names]
        _check_vaes(specs)
        return specs

    def _read_image(
        self, path: Path, names: Sequence[str], overrides: Mapping[str, Any]
    ) -> list[PipelineSpec]:
        from sdcli.storage.images.pixels import read_pixels

        fields = {"model": EMBEDDED} | {key: value for key, value in overrides.items() if value}
        specs = [PipelineSpec(**fields | {"vae": name}) for name in names]
        # All VAEs get the same pixels, so that their results can be compared.
        self._input, notes = read_pixels(path, grid=_check_vaes(specs))
        self.events += notes
        return specs

    def _measure(self, spec: PipelineSpec) -> dict[str, Any]:
        from sdcli import engine
        from sdcli.engine.vae.roundtrip import round_trip

        with engine_lock():
            vae = engine.load_vae(spec)
            result = round_trip(vae, pixels=self._input, latents=self._latents, tiling=self._tiling)
        reference = self._input if self._input is not None else next(iter(self.images), None)
        self.images.append(result.pixels)
        self.events += [f"{spec.vae}: {event}" for event in (*vae.notes, *result.events)]
        return {
            "vae": spec.vae,
            "class": vae.facts.class_name,
            "encode_seconds": result.encode_seconds,
            "decode_seconds": result.decode_seconds,
            "peak_bytes": result.peak_bytes,
            **similarity(result.pixels, reference),
        }


def _check_vaes(specs: Sequence[PipelineSpec]) -> int:
    """Check that the VAEs exist and fit; return the largest number of pixels per latent."""
    from sdcli.checkpoints.hub import fetch_model
    from sdcli.checkpoints.vae_selection import select_vae

    return max(select_vae(spec, fetch_model(spec))[0].vae_scale_factor for spec in specs)


def similarity(pixels: Pixels, reference: Pixels | None) -> dict[str, float | bool | None]:
    """Return PSNR in dB and SSIM of an image and its reference, as JSON-able values.

    PSNR is None for identical images, because JSON has no infinity. SSIM is None for images that
    are smaller than its window.
    """
    from sdcli.numerics.metrics import psnr, ssim

    if reference is None:
        return {"identical": None, "psnr": None, "ssim": None}
    decibels = psnr(pixels, reference)
    is_large_enough = min(pixels.shape[:2]) >= _SMALLEST_SSIM_SIDE
    return {
        "identical": math.isinf(decibels),
        "psnr": None if math.isinf(decibels) else round(decibels, 2),
        "ssim": round(ssim(pixels, reference), 4) if is_large_enough else None,
    }


def summary_row(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Format a row of the comparison for a table."""
    seconds = row["decode_seconds"] + (row["encode_seconds"] or 0)
    peak = row["peak_bytes"]
    decibels = f"{row['psnr']:.1f} dB" if row["psnr"] is not None else None
    return {
        "vae": row["vae"],
        "seconds": f"{seconds:.3f} s",
        "peak": None if peak is None else f"{peak / 1e6:.0f} MB",
        "psnr": "identical" if row["identical"] else decibels,
        "ssim": None if row["ssim"] is None else f"{row['ssim']:.3f}",
    }


def _caption(row: Mapping[str, str | None]) -> str:
    """The measurements of a VAE, to stand below its image."""
    cells = {**row, "vae": None, "ssim": row["ssim"] and f"SSIM {row['ssim']}"}
    return " · ".join(cell for cell in cells.values() if cell)
