"""What programs read on stdout: JSON documents and lines. Keys are only ever added."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sdcli.errors import SdcliError, UsageErrors
from sdcli.result import SavedImage, StepEvent
from sdcli.storage import files
from sdcli.storage.metadata.record import pixels_sha256

IMAGE_SCHEMA = "sdcli/image/1"
STEP_SCHEMA = "sdcli/step/1"
RUN_SCHEMA = "sdcli/run/1"
STARTED_SCHEMA = "sdcli/started/1"
DONE_SCHEMA = "sdcli/done/1"
ERROR_SCHEMA = "sdcli/error/1"


def image_document(written: SavedImage, *, latents: str | None = None) -> dict[str, Any]:
    """One finished image; `seconds` are of the whole batch it was part of."""
    result, job = written.result, written.result.job
    return {
        "schema": IMAGE_SCHEMA,
        "index": job.index,
        "path": written.path,
        "latents": latents,
        "prompt": job.prompt,
        "seed": job.seed,
        "width": job.width,
        "height": job.height,
        "pixels_sha256": pixels_sha256(result.pixels),
        "batch_size": result.run.batch_size,
        "device": result.run.device,
        "dtype": result.run.dtype,
        "seconds": {
            phase: round(seconds, 4)
            for phase, seconds in {**result.seconds, "save": written.seconds}.items()
        },
        "events": list(result.events),
    }


def step_document(event: StepEvent) -> dict[str, Any]:
    """One denoising step of a batch."""
    return {
        "schema": STEP_SCHEMA,
        "indices": list(event.job_indices),
        "step": event.step,
        "steps": event.steps,
        "timestep": event.timestep,
    }


def error_document(error: SdcliError) -> dict[str, Any]:
    """An error as a program reads it: `code` is stable, `message` and `hint` are for people.

    With `errors`, all of them, when several came at once.
    """
    several = error.several if isinstance(error, UsageErrors) else ()
    return {
        "schema": ERROR_SCHEMA,
        "error": _facts(error),
        **({"errors": [_facts(one) for one in several]} if several else {}),
        "exit_code": int(error.exit_code),
    }


def _facts(error: SdcliError) -> dict[str, str | None]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def run_document(
    images: Sequence[Mapping[str, Any]], errors: Sequence[SdcliError] = ()
) -> dict[str, Any]:
    """A whole run: its image documents and what failed, in job order."""
    return {
        "schema": RUN_SCHEMA,
        "images": list(images),
        "errors": [error_document(error)["error"] for error in errors],
    }


def print_json_line(document: Mapping[str, Any]) -> None:
    """One document on one line of stdout, at once. Raises BrokenPipeError when nobody reads."""
    # ASCII: whatever the terminal's encoding, and control characters come out as escapes.
    with files.os_errors_as_output_errors("stdout"):
        sys.stdout.write(_strict(document) + "\n")
        sys.stdout.flush()


def _strict(document: Mapping[str, Any]) -> str:
    """JSON has no NaN and no infinity; a stranger's record may, and they become null."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(document), parse_constant=lambda _: None)
        return json.dumps(finite, allow_nan=False)
