"""Latents files of pictures that were encoded: where they go and what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.errors import OutputError, UsageError
from sdcli.latents import FINAL
from sdcli.storage import files
from sdcli.storage.latents.writer import SCHEMA, SUFFIX
from sdcli.storage.text import slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUFFIX = ".safetensors"


def prepare_latents_output(out: str, *, several: bool, force: bool) -> Path:
    """Where latents go: a .safetensors file (numbered when there are several), or a folder.

    Makes the folder. Raises UsageError or OutputError now rather than after the work.
    """
    path = Path(out).expanduser()
    if out == files.STDOUT:
        raise UsageError("--out -: latents are files", code="usage.out", hint="give a folder")
    if path.suffix != _SUFFIX:
        if path.suffix and not path.is_dir():
            raise UsageError(
                f"--out {out}: latents are {_SUFFIX} files",
                code="usage.out",
                hint=f"as in {path.with_suffix(SUFFIX)}, or give a folder",
            )
        files.prepare_folder(path)
        return path
    files.prepare_folder(path.parent)
    if path.exists() and not several and not force:
        raise OutputError(
            f"{path} exists", code="output.exists", hint="choose another name, or add --force"
        )
    return path


def write_encoded_latents(
    latents: NDArray[np.float32],
    encoded: Mapping[str, Any],
    path: Path,
    *,
    several: bool,
    force: bool,
) -> str:
    """Write latents (4, height/8, width/8) as the tensor "final", and `encoded` as metadata.

    `path` is as `prepare` gave it; `encoded["image"]` is the picture's name. Raises OutputError.
    """
    import numpy as np
    from safetensors.numpy import save

    name = str(encoded["image"])
    metadata = {"schema": SCHEMA, "image": name, "encoded": json.dumps(encoded)}
    # The library writes the memory as it lies, whatever the strides say.
    data = save({FINAL: np.ascontiguousarray(latents)}, metadata=metadata)
    if path.suffix != _SUFFIX:
        after = f"-{slug(Path(name).stem)}{SUFFIX}"
        return str(files.write_numbered(path, "", after, data))
    if several:
        stem = path.name.removesuffix(SUFFIX).removesuffix(_SUFFIX)
        return str(files.write_numbered(path.parent, f"{stem}-", SUFFIX, data))
    files.write_atomic(path, data, force=force)
    return str(path)
