"""Decode files of latents with the model they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.errors import UsageError
from sdcli.request import PipelineSpec

if TYPE_CHECKING:
    from sdcli.engine.loading.vae import LoadedVae
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.latents.tensor_reader import LatentsTensor


class LatentsDecoder:
    """Decodes file after file, the VAE staying loaded while they agree on it."""

    def __init__(
        self,
        asked: dict[str, Any],
        tiling: str | None,
        tensor: str | None,
        destination: Destination,
        *,
        metadata: bool,
    ) -> None:
        self._asked = asked
        self._tiling = tiling
        self._tensor = tensor
        self._destination = destination
        self._metadata = metadata
        self._loaded: LoadedVae | None = None

    def decode(self, path: Path) -> Iterator[dict[str, Any]]:
        from sdcli.storage.latents.tensor_reader import read_latents_tensor

        latents = read_latents_tensor(path, self._tensor)
        if len(latents.array) > 1 and self._destination.kind in ("file", "stdout"):
            raise UsageError(
                f"{path} holds {len(latents.array)} images",
                code="usage.out",
                hint="give a folder for --out",
            )
        loaded = self._load(latents)
        for image in range(len(latents.array)):
            yield self._one(latents, image, loaded)

    def _load(self, latents: LatentsTensor) -> LoadedVae:
        from sdcli import engine

        spec = spec_for_latents(latents, self._asked)
        if self._loaded is None or self._loaded.spec != spec:
            self._loaded = None  # two may not fit into memory
            self._loaded = engine.load_vae(spec)
        return self._loaded

    def _one(self, latents: LatentsTensor, image: int, loaded: LoadedVae) -> dict[str, Any]:
        from sdcli.engine.vae.roundtrip import decode_array
        from sdcli.storage.images.codec import encode_image as to_bytes
        from sdcli.storage.images.writer import write_bytes
        from sdcli.storage.latents.decoded_record import DecodeInfo, decoded_name, decoded_record
        from sdcli.versions import library_versions

        tiling = self._tiling or recorded_tiling(latents)
        result = decode_array(loaded, latents.array[image], tiling=tiling)
        how = DecodeInfo(
            spec=loaded.spec,
            tiling=tiling,
            dtype=str(loaded.dtype).removeprefix("torch."),
            device=str(loaded.device),
            weights=loaded.hashes.result(),
            events=(*loaded.notes, *result.events),
            versions=library_versions(),
        )
        record = decoded_record(latents, image, result.pixels, how)
        data = to_bytes(result.pixels, self._destination.suffix, record if self._metadata else None)
        path = write_bytes(data, self._destination, decoded_name(latents, image))
        return {
            "path": path,
            **record["decoded"],
            "width": record["pixels"]["width"],
            "height": record["pixels"]["height"],
            "pixels_sha256": record["pixels"]["sha256"],
            "seconds": round(result.seconds, 4),
            "events": record["events"],
        }


def spec_for_latents(latents: LatentsTensor, asked: dict[str, Any]) -> PipelineSpec:
    """What to load for the latents: as asked, else as the file tells.

    What it tells of the VAE counts for its own model only.
    """
    told = latents.spec
    if asked.get("model") and asked["model"] != told.get("model"):
        told = {"dtype": told["dtype"]} if "dtype" in told else {}
    if asked.get("vae"):
        told = {name: value for name, value in told.items() if name not in ("vae", "force_vae")}
    return PipelineSpec(**told | {name: value for name, value in asked.items() if value})


def recorded_tiling(latents: LatentsTensor) -> str:
    """How the picture of the run was decoded."""
    request = (latents.record or {}).get("request") or {}
    tiling = request.get("vae_tiling")
    return tiling if tiling in ("on", "off") else "auto"
