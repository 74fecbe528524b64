"""Find files of weights in folders of the user."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdcli.checkpoints.adapters.embedded_addons import embedded_hint
from sdcli.checkpoints.weight_files import WEIGHT_SUFFIXES
from sdcli.errors import ModelError, UsageError, did_you_mean
from sdcli.inputs.paths import expand_user
from sdcli.pipeline_spec import EMBEDDED

# A folder that was given by mistake may be a whole disk.
_MAX_DEPTH: Final = 4

_LATENTS: Final = ".latents.safetensors"
"""The end of the names of saved latents, which are no weights."""


@dataclass(frozen=True, kw_only=True)
class SingleFile:
    """A file of weights in one of the folders. `name` is its path within that folder."""

    name: str
    path: Path
    bytes: int


def list_files(folders: Iterable[str]) -> list[SingleFile]:
    """Return the files of weights in the folders and the folders in them.

    Folders of models in the Diffusers layout are left out. Raises UsageError for a folder that does
    not exist.
    """
    found = []
    for folder in map(expand_user, folders):
        if not folder.is_dir():
            raise UsageError(f"--models-dir: no folder at {folder}", code="usage.models_dir")
        for path in sorted(_walk(folder)):
            name = path.relative_to(folder).as_posix()
            found.append(SingleFile(name=name, path=path, bytes=path.stat().st_size))
    return found


def find_file(name: str, folders: Iterable[str]) -> SingleFile | None:
    """Return the file of this name, with or without its suffix and its folder.

    Raises ModelError if several files have the name.
    """
    matches = [file for file in list_files(folders) if name in _names(file)]
    if len(matches) > 1:
        raise ModelError(
            f"{name}: several files have this name",
            code="model.ambiguous",
            hint=f"use one of {', '.join(file.name for file in matches[:5])}",
        )
    return matches[0] if matches else None


def unknown_name_error(name: str, known: Iterable[str]) -> ModelError:
    """Return the error for a name that is neither in the cache nor in a folder."""
    return ModelError(
        f"{name} is neither a path, nor in the cache, nor in a folder of --models-dir",
        code="model.not_found",
        hint=(
            "the built-in model is part of sdcli; sdcli doctor shows whether it is complete"
            if name == EMBEDDED
            else embedded_hint(name)
            or did_you_mean(name, [*known, EMBEDDED])
            or "sdcli models list"
        ),
    )


def _names(file: SingleFile) -> set[str]:
    path = Path(file.name)
    return {file.name, file.name.removesuffix(path.suffix), path.name, path.stem}


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        depth = len(Path(parent).relative_to(folder).parts)
        if "model_index.json" in names or depth >= _MAX_DEPTH:
            folders.clear()
        if "model_index.json" in names:
            continue
        paths = (
            Path(parent) / name
            for name in names
            if Path(name).suffix.lower() in WEIGHT_SUFFIXES and not name.endswith(_LATENTS)
        )
        # A broken link has a name, but no size.
        yield from (path for path in paths if path.is_file())
