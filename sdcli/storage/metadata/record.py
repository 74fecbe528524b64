"""Build the records of images: JSON that says how an image was made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.checkpoints.adapters.recorded_embeddings import embedding_names, embeddings_of
from sdcli.checkpoints.adapters.recorded_loras import lora_names, loras_of
from sdcli.checkpoints.locate import Kind
from sdcli.checkpoints.recorded import MODEL_KINDS, full_path, recorded_name
from sdcli.errors import UsageError
from sdcli.fields.prompt import with_recorded_syntax
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, RunInfo, SavedImage
from sdcli.storage import companions, files
from sdcli.storage.metadata.recorded_controls import control_names, controls_of
from sdcli.storage.metadata.recorded_inputs import input_names, inputs_of
from sdcli.storage.metadata.recorded_ip_adapters import ip_adapter_names, ip_adapters_of
from sdcli.versions import backend_versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "sdcli/record/1"


def make_record(
    result: GenerationResult, versions: Mapping[str, str], *, full_paths: bool = False
) -> dict[str, Any]:
    """Build the JSON-able record of a result. Generating the same image again gives the same one.

    "request" is valid for `GenerationRequest.from_dict`, with a value for every field. "job" is the
    id of the original job; that of a replayed image may differ, because its request is complete.
    Models that are folders or files, and input images, are recorded by name, or with `full_paths`
    by path.
    """
    job = result.job
    return partial_record(result.run, versions, full_paths=full_paths) | {
        "weights": dict(result.weights),
        "events": [
            event if full_paths else without_paths(event, job.spec) for event in result.events
        ],
        "pixels": {
            "width": result.pixels.shape[1],
            "height": result.pixels.shape[0],
            "sha256": pixels_sha256(result.pixels),
        },
    }


def partial_record(
    run: RunInfo, versions: Mapping[str, str], *, full_paths: bool = False
) -> dict[str, Any]:
    """Build the part of the record that is known before the first step."""
    job = run.job
    request = job.to_request(dtype=run.dtype).to_dict()
    request = {name: value for name, value in request.items() if job.has_effect(name)}
    request |= input_names(job, full_paths=full_paths)
    if job.lora:
        request["lora"] = lora_names(job, full_paths=full_paths)
    if job.embedding:
        request["embedding"] = embedding_names(job, full_paths=full_paths)
    if job.controlnet:
        request |= control_names(job, full_paths=full_paths)
    if job.ip_adapter:
        request |= ip_adapter_names(job, full_paths=full_paths)
    optional = {
        "refiner_call": run.refiner_call,
        "vae_dtype": run.vae_dtype,
        "vae_order": run.vae_order,
        "offload": run.offload,
        "compiled": run.compiled or None,
        "second_pass": _second_pass(run),
    }
    return {
        "schema": SCHEMA,
        "job": job.id,
        "request": name_models(request, full_path if full_paths else recorded_name),
        **({"inputs": inputs_of(job)} if job.image else {}),
        **({"loras": loras_of(job)} if job.lora else {}),
        **({"embeddings": embeddings_of(job)} if job.embedding else {}),
        **({"controlnets": controls_of(job)} if job.controlnet else {}),
        **({"ip_adapters": ip_adapters_of(job)} if job.ip_adapter else {}),
        "scheduler": {"class": run.scheduler_class, "config": dict(run.scheduler_config)},
        "timesteps": list(run.timesteps),
        "sigmas": None if run.sigmas is None else list(run.sigmas),
        "batch_size": run.batch_size,
        "dtype": run.dtype,
        "device": run.device,
        "versions": {**versions, **backend_versions(job.spec.backend)},
        **{name: value for name, value in optional.items() if value is not None},
        **({"extra": dict(job.row.extra)} if job.row.extra else {}),
    }


def _second_pass(run: RunInfo) -> dict[str, Any] | None:
    return None if run.second_pass is None else asdict(run.second_pass)


def name_models(
    fields: Mapping[str, Any], spell: Callable[[str, Kind], str] = recorded_name
) -> dict[str, Any]:
    """Replace the values of MODEL_KINDS, by default by names: paths are private."""
    names = dict(fields)
    for key, kind in MODEL_KINDS.items():
        if isinstance(name := names.get(key), str):
            names[key] = spell(name, kind)
    return names


def without_paths(text: str, spec: PipelineSpec) -> str:
    """Return a message with the names of the spec's models in place of their paths."""
    for field, kind in MODEL_KINDS.items():
        if path := getattr(spec, field):
            name = recorded_name(path, kind)
            for spelling in (full_path(path, kind), path):
                text = text.replace(spelling, name) if os.sep in spelling else text
    return text


def record_request(record: Mapping[str, Any], path: Path) -> GenerationRequest:
    """Return the request in the record of a file.

    Raises UsageError when it has none, and for fields that this version does not know.
    """
    if not record["request"] and "decoded" in record:
        raise UsageError(
            f"{path}: decoded from latents without a record of how they were made",
            code="record.no_request",
        )
    try:
        return GenerationRequest.from_dict(with_recorded_syntax(record["request"]))
    except UsageError as error:
        if error.code != "usage.field":
            raise UsageError(f"{path}: its record: {error.message}", code=error.code) from error
        raise UsageError(
            f"{path}: its record ({record.get('schema')}) is of a later version: {error.message}",
            code=error.code,
            hint="upgrade sdcli: sdcli help install",
        ) from error


def write_sidecar(
    saved: SavedImage,
    versions: Mapping[str, str],
    *,
    force: bool = False,
    full_paths: bool = False,
) -> str:
    """Write the record next to its image, as `cat.json` for `cat.png`, and return the path.

    Raises OutputError, and UsageError for an image on stdout.
    """
    path = files.sibling_path(saved.path, companions.SIDECAR)
    document = make_record(saved.result, versions, full_paths=full_paths)
    text = json.dumps(document, ensure_ascii=False, indent=2)
    files.write_atomic(path, f"{text}\n".encode(), force=force)
    return str(path)


def pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    """Return `rgb_sha256` of an array (height, width, 3)."""
    height, width, _ = pixels.shape
    return rgb_sha256(width, height, pixels.tobytes())


def rgb_sha256(width: int, height: int, data: bytes) -> str:
    """Return the SHA-256 of the line "RGB <width> <height>", then the pixels, three bytes each."""
    # The size is hashed, too: the same bytes can be images of several shapes.
    return hashlib.sha256(f"RGB {width} {height}\n".encode("ascii") + data).hexdigest()


def record_json(record: Mapping[str, Any]) -> str:
    """Return the record as compact JSON, without escaping other scripts."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
