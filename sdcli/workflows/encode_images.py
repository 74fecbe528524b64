"""Encode image files to latents with one VAE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.inputs.paths import expand_user
from sdcli.pipeline_spec import PipelineSpec
from sdcli.runner.pipeline_cache import engine_lock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ImageEncoder:
    """Encode images with the VAE of a spec, which is loaded at once, and write their latents.

    `out` is the value of `--out` and `several` says whether more than one image comes. Image *i*
    is sampled with `seed` + i; None takes the mean of the VAE's distribution. Raises UsageError or
    OutputError when the latents could not be written, and the errors of loading a VAE.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        *,
        out: str,
        several: bool,
        force: bool,
        seed: int | None,
        tiling: str,
    ) -> None:
        from sdcli import engine
        from sdcli.storage.latents.encoded_image import prepare_latents_output

        self._destination = prepare_latents_output(out, several=several, force=force)
        self._several = several
        self._force = force
        self._seed = seed
        self._tiling = tiling
        with engine_lock():
            self._vae = engine.load_vae(spec)

    def encode(self, item: tuple[int, str]) -> Iterator[dict[str, Any]]:
        """Encode an image, given as its index and path, and write its latents.

        Yields one JSON-able description of the file. Raises UsageError, CorruptError, OutputError,
        and the errors of encoding.
        """
        from sdcli.storage.latents.encoded_image import write_encoded_latents

        index, path = item
        seed = None if self._seed is None else self._seed + index
        latents, facts = self._encode(expand_user(path), seed)
        written = write_encoded_latents(
            latents, facts, self._destination, several=self._several, force=self._force
        )
        yield {"path": written, **facts, "shape": list(latents.shape)}

    def _encode(self, path: Path, seed: int | None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Latents (4, height/8, width/8) of an image file, and the facts to save with them."""
        from sdcli.engine.vae.encode import encode_image
        from sdcli.storage.images.pixels import read_pixels
        from sdcli.storage.metadata.record import name_models, pixels_sha256
        from sdcli.versions import library_versions

        vae, spec = self._vae, self._vae.spec
        pixels, notes = read_pixels(path, grid=vae.facts.vae_scale_factor)
        with engine_lock():
            latents, events = encode_image(vae, pixels, seed=seed, tiling=self._tiling)
        facts = {
            "image": path.name,
            "pixels_sha256": pixels_sha256(pixels),
            **name_models({"model": spec.model, "vae": spec.vae, **_file_options(spec)}),
            "force_vae": spec.force_vae,
            "variant": spec.variant,
            "dtype": str(vae.dtype).removeprefix("torch."),
            "device": str(vae.device),
            "scaling_factor": vae.facts.scaling_factor,
            "seed": seed,
            "weights": vae.hashes.result(),
            "versions": dict(library_versions()),
            "events": [*vae.notes, *notes, *events],
        }
        return latents, facts


def _file_options(spec: PipelineSpec) -> dict[str, str]:
    """The options of a model in a single file that are set."""
    names = ("model_config", "prediction_type")
    return {name: value for name in names if (value := getattr(spec, name))}
