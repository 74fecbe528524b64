"""The record of a picture that was decoded from latents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.errors import CorruptError, SdcliError
from sdcli.latents import FINAL
from sdcli.request import GenerationRequest, PipelineSpec
from sdcli.storage.latents.tensor_reader import LatentsTensor
from sdcli.storage.latents.writer import SUFFIX
from sdcli.storage.metadata import record as records
from sdcli.storage.metadata.a1111 import format_parameters
from sdcli.storage.text import slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DecodeInfo:
    """How latents were decoded: with what, and what happened."""

    spec: PipelineSpec
    tiling: str
    dtype: str
    device: str
    weights: Mapping[str, str]
    events: Sequence[str]
    versions: Mapping[str, str]


def decoded_record(
    latents: LatentsTensor, image: int, pixels: NDArray[np.uint8], how: DecodeInfo
) -> dict[str, Any]:
    """The picture's record; of the last latents of a run it is the run's, with this VAE.

    So `replay` makes that picture again. Others have an empty request, and tell in "decoded" what
    they were made of. Raises CorruptError for latents whose record is not whole.
    """
    height, width, _ = pixels.shape
    run: Mapping[str, Any] = latents.record or {} if latents.tensor == FINAL else {}
    request = dict(run.get("request", {}))
    if request:
        request |= {
            "vae": how.spec.vae,
            "force_vae": how.spec.force_vae,
            "vae_tiling": how.tiling,
        }
    made = {
        **run,
        "schema": records.SCHEMA,
        "request": request,
        "weights": {**run.get("weights", {}), **how.weights},
        "events": list(how.events),
        "versions": dict(how.versions),
        "decoded": {
            "latents": latents.path.name,
            "tensor": latents.tensor,
            "image": image,
            "model": how.spec.model,
            "vae": how.spec.vae,
            "dtype": how.dtype,
            "device": how.device,
        },
        "pixels": {
            "width": width,
            "height": height,
            "sha256": records.pixels_sha256(pixels),
        },
    }
    _check(latents, made)
    return made


def decoded_name(latents: LatentsTensor, image: int) -> str:
    """What a picture of these latents is called, without the number before it."""
    words = base_stem(latents.path)
    if latents.tensor != FINAL:
        words += f"-{slug(latents.tensor)}"
    return f"{words}-{image}" if len(latents.array) > 1 else words


def _check(latents: LatentsTensor, made: Mapping[str, Any]) -> None:
    """Nothing proves that the metadata is ours: see whether it can be told, as it will be."""
    if not made["request"]:
        return
    try:
        GenerationRequest.from_dict(made["request"])
        format_parameters(made)
    except (SdcliError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptError(
            f"{latents.path}: the record in it is not whole ({error!r})",
            code="latents.corrupt",
            hint="make or copy the file again",
        ) from error


def base_stem(path: Path) -> str:
    """The name of an image or latents file without its number and its suffixes."""
    stem = path.name.removesuffix(SUFFIX)
    stem = stem.removesuffix(path.suffix) if stem == path.name else stem
    return slug(re.sub(r"^\d{4,}-", "", stem))
