"""Latents on disk: safetensors with the record of their image as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.numpy import save

from sdcli.output import files, record
from sdcli.result import Written

SUFFIX = ".latents.safetensors"
SCHEMA = "sdcli/latents/1"


def write_latents(written: Written, versions: Mapping[str, str], *, force: bool = False) -> str:
    """Write the recorded latents beside their image, as `cat.latents.safetensors`; the path.

    Tensors are (4, height/8, width/8), named as the recorder named them; the metadata's values are
    strings, as the format wants. Raises OutputError; UsageError when there is no file to be beside.
    """
    path = files.beside(written.path, SUFFIX)
    metadata = {
        "schema": SCHEMA,
        "image": Path(written.path).name,
        "record": json.dumps(record.make(written.result, versions)),
    }
    data = save(dict(written.result.latents or {}), metadata=metadata)
    files.write(path, data, force=force)
    return str(path)
