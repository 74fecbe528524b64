"""Print JSON documents on stdout for programs. Their keys are only ever added to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sdcli.errors import SdcliError, UsageErrors
from sdcli.job import Job
from sdcli.result import DoneImage, SavedImage, StepEvent
from sdcli.storage.metadata.record import pixels_sha256
from sdcli.terminal.output import print_data

IMAGE_SCHEMA = "sdcli/image/1"
STEP_SCHEMA = "sdcli/step/1"
RUN_SCHEMA = "sdcli/run/1"
STARTED_SCHEMA = "sdcli/started/1"
DONE_SCHEMA = "sdcli/done/1"
ERROR_SCHEMA = "sdcli/error/1"
ARCHIVE_SCHEMA = "sdcli/archive/1"


def image_document(image: SavedImage, *, latents: str | None = None) -> dict[str, Any]:
    """The document of a saved image; `seconds` are those of its whole batch."""
    result, job = image.result, image.result.job
    seconds = {**result.seconds, "save": image.seconds}
    return {
        "schema": IMAGE_SCHEMA,
        "index": job.index,
        "path": image.path,
        "latents": latents,
        "prompt": job.prompt,
        "seed": job.seed,
        "width": result.pixels.shape[1],
        "height": result.pixels.shape[0],
        "pixels_sha256": pixels_sha256(result.pixels),
        "batch_size": result.run.batch_size,
        "device": result.run.device,
        "dtype": result.run.dtype,
        "seconds": {phase: round(duration, 4) for phase, duration in seconds.items()},
        "events": list(result.events),
        "skipped": False,
        **job.row.to_dict(),
    }


def done_document(image: DoneImage) -> dict[str, Any]:
    """The document of an image that was done before: what is only known when it is made is None."""
    job = image.job
    width, height = job.final_size
    return {
        "schema": IMAGE_SCHEMA,
        "index": job.index,
        "path": image.path,
        "latents": image.latents,
        "prompt": job.prompt,
        "seed": job.seed,
        "width": width,
        "height": height,
        "pixels_sha256": image.pixels_sha256 or None,
        **dict.fromkeys(("batch_size", "device", "dtype")),
        "seconds": {},
        "events": [],
        "skipped": True,
        **job.row.to_dict(),
    }


def step_document(event: StepEvent) -> dict[str, Any]:
    """The document of one denoising step of a batch."""
    return {
        "schema": STEP_SCHEMA,
        "indices": list(event.job_indices),
        "step": event.step,
        "steps": event.steps,
        "timestep": event.timestep,
        "rows": [row.to_dict() for row in event.rows],
    }


def error_document(error: SdcliError) -> dict[str, Any]:
    """The document of an error: `code` is stable, `message` and `hint` are for people.

    When several errors came together, `errors` lists all of them.
    """
    several = error.several if isinstance(error, UsageErrors) else ()
    return {
        "schema": ERROR_SCHEMA,
        "error": _error_fields(error),
        **({"errors": [_error_fields(each) for each in several]} if several else {}),
        "exit_code": int(error.exit_code),
    }


def _error_fields(error: SdcliError) -> dict[str, str | None]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def failed_jobs(jobs: Sequence[Job]) -> dict[str, Any]:
    """The indices of jobs that failed together, and their rows."""
    return {
        "indices": [job.index for job in jobs],
        "rows": [{"prompt": job.prompt, "seed": job.seed, **job.row.to_dict()} for job in jobs],
    }


def run_document(
    images: Sequence[Mapping[str, Any]],
    errors: Sequence[tuple[SdcliError, Sequence[Job]]] = (),
) -> dict[str, Any]:
    """The document of a run: its images and its errors, in job order."""
    return {
        "schema": RUN_SCHEMA,
        "images": list(images),
        "errors": [_error_fields(error) | failed_jobs(jobs) for error, jobs in errors],
    }


def archive_document(path: str, images: int) -> dict[str, Any]:
    """The document of an archive of images."""
    return {"schema": ARCHIVE_SCHEMA, "path": path, "images": images}


def print_json_line(document: Mapping[str, Any]) -> None:
    """Print a document in one line and flush it. Raises BrokenPipeError when nobody reads."""
    print_data(_dump_strict(document))


def _dump_strict(document: Mapping[str, Any]) -> str:
    # ASCII works in every terminal encoding, and escapes control characters.
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError:
        # Records of other programs may hold NaN and infinity, which JSON does not have: use null.
        finite = json.loads(json.dumps(document), parse_constant=lambda _: None)
        return json.dumps(finite, allow_nan=False)
