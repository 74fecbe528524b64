"""Keep the scores of images in their sidecars: the key `scores` beside their records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sdcli.errors import OutputError
from sdcli.storage import companions, files

SCHEMA: Final = "sdcli/scores/1"
KEY: Final = "scores"
_PIXELS: Final = "pixels_sha256"
_MAX_BYTES: Final = 16_000_000


def stored_scores(image: Path) -> dict[str, Any]:
    """Return the scores in the sidecar of an image, of its pixels or of others."""
    scores = (_read_sidecar(image) or {}).get(KEY)
    return scores if isinstance(scores, dict) else {}


def read_scores(image: Path, pixels_sha256: str) -> dict[str, float]:
    """Return the scores in the sidecar of an image that were measured on these pixels."""
    return scores_of(stored_scores(image), pixels_sha256)


def scores_of(scores: Mapping[str, Any], pixels_sha256: str) -> dict[str, float]:
    """Return the stored scores that were measured on these pixels."""
    if scores.get(_PIXELS) != pixels_sha256:
        return {}
    return {
        name: float(value)
        for name, value in scores.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def write_scores(
    image: Path, scores: Mapping[str, Any], pixels_sha256: str, record: Mapping[str, Any] | None
) -> Path:
    """Add scores to the sidecar of an image, or write one with its record, and return the path.

    The rest of an existing sidecar is kept. Raises OutputError for a file of that name that is no
    sidecar.
    """
    path = image.with_suffix(companions.SIDECAR)
    document = _read_sidecar(image)
    if document is None and path.exists():
        raise OutputError(
            f"{path} is not a sidecar of sdcli; the scores of {image} were not written",
            code="output.exists",
            hint="rename that file",
        )
    content = dict(document or record or {"schema": SCHEMA})
    content[KEY] = {_PIXELS: pixels_sha256, **scores}
    text = json.dumps(content, ensure_ascii=False, indent=2)
    files.write_atomic(path, f"{text}\n".encode("utf-8", "backslashreplace"), force=True)
    return path


def _read_sidecar(image: Path) -> dict[str, Any] | None:
    """The document of a sidecar that sdcli wrote, None for any other file."""
    path = image.with_suffix(companions.SIDECAR)
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            document = json.loads(path.read_bytes())
            if isinstance(document, dict) and str(document.get("schema")).startswith("sdcli/"):
                return document
    return None
