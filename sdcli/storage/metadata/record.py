"""The record of what made an image: JSON of our own, and the text that A1111's tools read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.errors import UsageError
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, RunInfo, SavedImage
from sdcli.storage import files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "sdcli/record/1"


def make_record(result: GenerationResult, versions: Mapping[str, str]) -> dict[str, Any]:
    """The record of a result: JSON-able, and the same for the same picture made twice.

    "request" is valid for `GenerationRequest.from_dict` and leaves nothing open; "job" is the id of
    the job as it was asked for, so a replay, which leaves nothing open either, may have another.
    """
    job = result.job
    return partial_record(result.run, versions) | {
        "weights": dict(result.weights),
        "events": list(result.events),
        "pixels": {
            "width": job.width,
            "height": job.height,
            "sha256": pixels_sha256(result.pixels),
        },
    }


def partial_record(run: RunInfo, versions: Mapping[str, str]) -> dict[str, Any]:
    """As much of the record as is known before the first step."""
    job = run.job
    request = GenerationRequest(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt or None,
        spec=replace(job.spec, dtype=run.dtype),
        scheduler=job.scheduler_label,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        guidance_rescale=job.guidance_rescale,
        eta=job.eta,
        clip_skip=job.clip_skip,
        width=job.width,
        height=job.height,
        seed=job.seed,
        vae_tiling=job.vae_tiling,
    )
    return {
        "schema": SCHEMA,
        "job": job.id,
        "request": request.to_dict(),
        "scheduler": {"class": run.scheduler_class, "config": dict(run.scheduler_config)},
        "timesteps": list(run.timesteps),
        "sigmas": None if run.sigmas is None else list(run.sigmas),
        "batch_size": run.batch_size,
        "dtype": run.dtype,
        "device": run.device,
        "versions": dict(versions),
    }


def record_request(record: Mapping[str, Any], path: Path) -> GenerationRequest:
    """The request in the record of the file. Raises UsageError for none, and for one not ours."""
    if not record["request"] and "decoded" in record:
        raise UsageError(
            f"{path}: decoded from latents that do not say how they were made",
            code="record.no_request",
        )
    try:
        return GenerationRequest.from_dict(record["request"])
    except UsageError as error:
        if error.code != "usage.field":
            raise UsageError(f"{path}: its record: {error.message}", code=error.code) from error
        raise UsageError(
            f"{path}: its record ({record.get('schema')}) is of a later version: {error.message}",
            code=error.code,
            hint="pip install --upgrade sdcli",
        ) from error


def write_sidecar(written: SavedImage, versions: Mapping[str, str], *, force: bool = False) -> str:
    """Write the record beside its image, as `cat.json` for `cat.png`, and return the path.

    Raises OutputError; UsageError when there is no file to be beside.
    """
    path = files.sibling_path(written.path, ".json")
    text = json.dumps(make_record(written.result, versions), ensure_ascii=False, indent=2)
    files.write_atomic(path, f"{text}\n".encode(), force=force)
    return str(path)


def pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    """`rgb_sha256` of an array (height, width, 3)."""
    height, width, _ = pixels.shape
    return rgb_sha256(width, height, pixels.tobytes())


def rgb_sha256(width: int, height: int, data: bytes) -> str:
    """SHA-256 of the line "RGB <width> <height>" and then the pixels, three bytes each."""
    return hashlib.sha256(f"RGB {width} {height}\n".encode("ascii") + data).hexdigest()


def record_json(record: Mapping[str, Any]) -> str:
    """The record as it stands in an image: short, and readable in every script."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
