"""Decode files of latents to images through a VAE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.checkpoints.recorded import locate_recorded
from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.runner.pipeline_cache import engine_lock

if TYPE_CHECKING:
    from sdcli.engine.loading.vae import LoadedVae
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.latents.latents_file import LatentsFile


class LatentsDecoder:
    """Decode one file after another, keeping the VAE loaded while the files agree on it.

    `overrides` are fields of the PipelineSpec that replace the recorded ones where they are set.
    `tensor` names the tensor to decode; None takes the final latents, or the only tensor.
    """

    def __init__(
        self,
        overrides: Mapping[str, Any],
        tiling: str | None,
        tensor: str | None,
        destination: Destination,
        *,
        metadata: bool,
    ) -> None:
        self._overrides = overrides
        self._tiling = tiling
        self._tensor = tensor
        self._destination = destination
        self._metadata = metadata
        self._loaded: LoadedVae | None = None

    def decode(self, path: Path) -> Iterator[dict[str, Any]]:
        """Write every image of a file, and describe each as a JSON-able dictionary.

        Raises UsageError, CorruptError, OutputError, and the errors of loading and decoding.
        """
        from sdcli.storage.latents.reader import read_any_latents_file

        file = read_any_latents_file(path)
        tensor = file.select_tensor(self._tensor)
        images = file.images(tensor)
        if len(images) > 1 and self._destination.kind in ("file", "stdout"):
            raise UsageError(
                f"{path} holds {len(images)} images",
                code="usage.out",
                hint="give a folder for --out",
            )
        loaded = self._load(file)
        for image in range(len(images)):
            yield self._decode_image(file, tensor, images, image, loaded)

    def _load(self, file: LatentsFile) -> LoadedVae:
        from sdcli import engine

        spec = spec_for_latents(file, self._overrides)
        if self._loaded is None or self._loaded.spec != spec:
            # Drop the old VAE before loading: two may not fit into memory.
            self._loaded = None
            with engine_lock():
                self._loaded = engine.load_vae(spec)
        return self._loaded

    def _decode_image(
        self, file: LatentsFile, tensor: str, images: Any, image: int, loaded: LoadedVae
    ) -> dict[str, Any]:
        from sdcli.engine.vae.roundtrip import decode_array
        from sdcli.storage.images.codec import encode_image
        from sdcli.storage.images.writer import write_bytes
        from sdcli.storage.latents.decoded_record import DecodeInfo, decoded_name, decoded_record
        from sdcli.versions import library_versions

        tiling = self._tiling or recorded_tiling(file)
        with engine_lock():
            result = decode_array(loaded, images[image], tiling=tiling)
        info = DecodeInfo(
            spec=loaded.spec,
            tiling=tiling,
            dtype=str(loaded.dtype).removeprefix("torch."),
            device=str(loaded.device),
            weights=loaded.hashes.result(),
            events=(*loaded.notes, *result.events),
            versions=library_versions(),
        )
        record = decoded_record(file, tensor, image, result.pixels, info)
        embedded = record if self._metadata else None
        data = encode_image(result.pixels, self._destination.suffix, embedded)
        name = decoded_name(file, tensor, image, several=len(images) > 1)
        path = write_bytes(data, self._destination, name)
        pixels = record["pixels"]
        return {
            "path": path,
            **record["decoded"],
            "width": pixels["width"],
            "height": pixels["height"],
            "pixels_sha256": pixels["sha256"],
            "seconds": round(result.seconds, 4),
            "events": list(info.events),
        }


def spec_for_latents(file: LatentsFile, overrides: Mapping[str, Any]) -> PipelineSpec:
    """Return what to load to decode a file: the overrides that are set, else what is recorded."""
    recorded = file.spec_fields
    if overrides.get("model") and overrides["model"] != recorded.get("model"):
        # A VAE or variant of one model means nothing to another.
        recorded = {"dtype": recorded["dtype"]} if "dtype" in recorded else {}
    if overrides.get("vae"):
        recorded = {k: v for k, v in recorded.items() if k not in ("vae", "force_vae")}
    spec = PipelineSpec(**recorded | {name: value for name, value in overrides.items() if value})
    return locate_recorded(spec, file.origin, file.path.parent)


def recorded_tiling(file: LatentsFile) -> str:
    """Return the tiling that the run's own image was decoded with, "auto" when unknown."""
    tiling = file.record.get("request", {}).get("vae_tiling")
    return tiling if tiling in ("on", "off") else "auto"
