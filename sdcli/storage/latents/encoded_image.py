"""Write the latents of encoded images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import OutputError, UsageError
from sdcli.inputs.paths import output_path
from sdcli.latents import FINAL
from sdcli.storage import files
from sdcli.storage.latents.writer import SCHEMA, SUFFIX
from sdcli.storage.text import one_line, slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILE_SUFFIX: Final = ".safetensors"


def prepare_latents_output(out: str, *, several: bool, force: bool) -> Path:
    """Parse `--out` for latents: a .safetensors file, or a folder, which is created.

    With `several`, the file name is the pattern of a numbered series. Raises UsageError or
    OutputError before any work is done.
    """
    path = output_path(out)
    if out == files.STDOUT:
        raise UsageError(
            "--out -: latents can't be written to stdout", code="usage.out", hint="give a folder"
        )
    if path.suffix != _FILE_SUFFIX:
        if path.suffix and not path.is_dir():
            raise UsageError(
                f"--out {out}: latents are {_FILE_SUFFIX} files",
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
    """Write latents (4, height/8, width/8) as the tensor "final", and return the path.

    `encoded` are the facts to save as metadata, in which "image" is the image's name. `path` is
    what `prepare_latents_output` returned. Raises OutputError.
    """
    import numpy as np
    from safetensors.numpy import save

    name = str(encoded["image"])
    # The metadata is UTF-8, which not every file name is.
    metadata = {"schema": SCHEMA, "image": one_line(name), "encoded": json.dumps(encoded)}
    # `save` writes an array's memory in its own order, ignoring the strides.
    data = save({FINAL: np.ascontiguousarray(latents)}, metadata=metadata)
    if path.suffix != _FILE_SUFFIX:
        after = f"-{slug(Path(name).stem)}{SUFFIX}"
        return str(files.write_numbered(path, "", after, data))
    if several:
        stem = path.name.removesuffix(SUFFIX).removesuffix(_FILE_SUFFIX)
        return str(files.write_numbered(path.parent, f"{stem}-", SUFFIX, data))
    files.write_atomic(path, data, force=force)
    return str(path)
