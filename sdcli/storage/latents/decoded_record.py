"""Build the records and names of images that are decoded from saved latents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import SdcliError
from sdcli.fields.hires import HIRES_FIELDS
from sdcli.latents import FINAL
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.storage.latents.latents_file import LatentsFile, corrupt_error
from sdcli.storage.latents.writer import SUFFIX
from sdcli.storage.metadata import record as records
from sdcli.storage.metadata.a1111_parameters import format_parameters
from sdcli.storage.text import slug
from sdcli.versions import backend_versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_DECODE_PREFIX: Final = "VAE: "
"""Beginning of the events that decoding reports, such as a fallback to tiles."""


@dataclass(frozen=True, kw_only=True)
class DecodeInfo:
    """How latents were decoded: the VAE and its settings, and the events of the decode."""

    spec: PipelineSpec
    tiling: str
    dtype: str
    device: str
    weights: Mapping[str, str]
    events: Sequence[str]
    versions: Mapping[str, str]


def decoded_record(
    file: LatentsFile, tensor: str, image: int, pixels: Pixels, info: DecodeInfo
) -> dict[str, Any]:
    """Build the record of image number `image` of a tensor, decoded by `vae decode`.

    For the final latents of a run it is the run's record with the VAE of this decode, so that
    `replay` reproduces the image. Otherwise its request is empty and "decoded" names the source.
    Raises CorruptError for a file whose own record is incomplete.
    """
    run = _first_pass(file.record) if tensor == FINAL else {}
    request = dict(run.get("request", {}))
    record = {
        **run,
        "schema": records.SCHEMA,
        "request": request and _with_vae(request, info.spec, info.tiling),
        "weights": {**run.get("weights", {}), **info.weights},
        "events": merge_events(run, info.events),
        "versions": {**info.versions, **backend_versions(info.spec.backend)},
        "decoded": {
            "latents": file.path.name,
            "tensor": tensor,
            "image": image,
            **records.name_models({"model": info.spec.model, "vae": info.spec.vae}),
            "dtype": info.dtype,
            "device": info.device,
        },
        "pixels": _pixel_facts(pixels),
    }
    _check_complete(file, record)
    return record


def rerendered_record(
    file: LatentsFile, pixels: Pixels, spec: PipelineSpec, tiling: str | None, events: Sequence[str]
) -> dict[str, Any] | None:
    """Build the record of the final latents of a run, decoded by `latents decode`.

    It is the run's record with these pixels and the VAE of `spec`. None when the run was
    interrupted, and when the VAE is another model's: no request describes such an image.
    """
    if "pixels" not in file.record or not _same_name("model", spec, file):
        return None
    record = _first_pass(file.record)
    request = record["request"]
    if not _same_name("vae", spec, file):
        # The hash of the VAE that decoded the run's own image would be wrong here.
        record["weights"] = {k: v for k, v in record["weights"].items() if k != "vae"}
    return record | {
        "request": _with_vae(request, spec, tiling),
        "events": merge_events(record, events),
        "pixels": _pixel_facts(pixels),
    }


def _first_pass(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's record without a second pass: the latents are those of the first."""
    request = record.get("request")
    if not isinstance(request, Mapping):
        return dict(record)
    kept = {name: value for name, value in request.items() if name not in HIRES_FIELDS}
    return {name: value for name, value in record.items() if name != "second_pass"} | {
        "request": kept
    }


def merge_events(run: Mapping[str, Any], events: Sequence[str]) -> list[str]:
    """Merge the events of a run's record with those of decoding its latents again.

    Events of the run's own decode are dropped. The others still apply: `replay`, for example,
    refuses an image whose first steps came from another run.
    """
    recorded = run.get("events")
    kept = [
        event
        for event in (recorded if isinstance(recorded, list) else ())
        if isinstance(event, str) and not event.startswith(_DECODE_PREFIX)
    ]
    # Loading the same VAE again repeats the sentences that the run reported about it.
    return list(dict.fromkeys([*kept, *events]))


def decoded_name(file: LatentsFile, tensor: str, image: int, *, several: bool) -> str:
    """Return the file name of a decoded image, without number and suffix.

    `several` says that the tensor holds more than one image.
    """
    words = base_stem(file.path)
    if tensor != FINAL:
        words += f"-{slug(tensor)}"
    return f"{words}-{image}" if several else words


def base_stem(path: Path) -> str:
    """Return the name of an image or latents file without its number and suffixes."""
    stem = path.name.removesuffix(SUFFIX)
    stem = stem.removesuffix(path.suffix) if stem == path.name else stem
    return slug(re.sub(r"^\d{4,}-", "", stem))


def _with_vae(request: Mapping[str, Any], spec: PipelineSpec, tiling: str | None) -> dict[str, Any]:
    vae = records.name_models({"vae": spec.vae})
    return {**request, **vae, "force_vae": spec.force_vae, "vae_tiling": tiling}


def _same_name(field: str, spec: PipelineSpec, file: LatentsFile) -> bool:
    """Whether the spec and the record name the same model or VAE, by path or by name."""
    names = [{field: getattr(each, field)} for each in (spec, file.request.spec)]
    return records.name_models(names[0]) == records.name_models(names[1])


def _pixel_facts(pixels: Pixels) -> dict[str, Any]:
    height, width, _ = pixels.shape
    return {"width": width, "height": height, "sha256": records.pixels_sha256(pixels)}


def _check_complete(file: LatentsFile, record: Mapping[str, Any]) -> None:
    """Check that the record can be embedded in an image: any tool may have written the file."""
    if not record["request"]:
        return
    try:
        GenerationRequest.from_dict(record["request"])
        format_parameters(record)
    except (SdcliError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise corrupt_error(file.path, f"has an incomplete record ({error!r})") from error
