"""Name the files that belong to an image: its sidecar and its latents."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

SIDECAR: Final = ".json"
LATENTS: Final = ".latents.safetensors"
SUFFIXES: Final = (SIDECAR, LATENTS)

_MAX_RECORD_BYTES: Final = 16_000_000


def file_suffix(name: str) -> str:
    """The suffix of an image or a companion, which may have a dot inside."""
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), Path(name).suffix)


def companion_paths(image: Path) -> list[Path]:
    """The paths of the companions that an image can have."""
    return [image.with_suffix(suffix) for suffix in SUFFIXES]


def existing_companions(image: Path) -> Iterator[Path]:
    """The paths of companions that are taken, by whatever it is."""
    return (path for path in companion_paths(image) if os.path.lexists(path))


def belongs_to_job(path: Path, job_id: str) -> bool:
    """Whether the record in a sidecar or a latents file names that job."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        if stat.S_ISREG(os.lstat(path).st_mode):
            return bool(_read_record(path).get("job") == job_id)
    return False


def _read_record(path: Path) -> Any:
    with path.open("rb") as file:
        if path.suffix == SIDECAR:
            return json.loads(file.read(_MAX_RECORD_BYTES))
        # The header of a safetensors file follows its length, in eight bytes.
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, _MAX_RECORD_BYTES)))
        return json.loads(header["__metadata__"]["record"])
