"""`sdcli vae decode`: latents to images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_dtype, parse_verbosity
from sdcli.commands.vae.per_file import FileResults
from sdcli.errors import ExitCode, UsageError
from sdcli.request import PipelineSpec

if TYPE_CHECKING:
    from sdcli.engine.loading.vae import LoadedVae
    from sdcli.storage.images.writer import Destination
    from sdcli.storage.latents.tensor_reader import LatentsTensor

Files = Annotated[list[str], typer.Argument(metavar="LATENTS", help="Latents files.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Whose latents they are; as the file says if left out."),
]
Tensor = Annotated[
    str | None,
    typer.Option("--tensor", help="Which tensor of the file, as in final; the last latents."),
]


def decode(
    files: Files,
    model: Model = None,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    tensor: Tensor = None,
    variant: flags.Variant = None,
    dtype: flags.Dtype = None,
    device: flags.Device = "auto",
    out: flags.Out = "outputs",
    no_metadata: flags.NoMetadata = False,
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Decode latents to images and print their paths.

    The model, VAE and dtype are those that the file tells of, so that the last latents of a run
    give its picture bit for bit.

    \b
    Examples:
      sdcli vae decode outputs/0001-a-cat-7.latents.safetensors
      sdcli vae decode cat.latents.safetensors --vae tiny -o tiny.png
    """
    asked: dict[str, Any] = {
        "model": model,
        "vae": vae,
        "force_vae": force_vae,
        "dtype": parse_dtype(dtype),
        "variant": variant,
        "device": device,
        "offline": offline,
    }
    from sdcli.storage.images.writer import parse_destination

    destination = parse_destination(out, several=len(files) > 1, force=force, json=json)
    tally = FileResults(
        "sdcli/vae-decode/1", "images", json=json, verbosity=parse_verbosity(quiet, verbose)
    )
    work = LatentsDecoder(asked, vae_tiling, tensor, destination, metadata=not no_metadata)
    return tally.each((Path(file).expanduser() for file in files), work.decode)


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
