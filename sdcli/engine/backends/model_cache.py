"""Keep converted networks on disk, so that each model is converted only once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sdcli.checkpoints import hash_cache
from sdcli.checkpoints.file_hashes import file_sha256, state_of
from sdcli.errors import OutputError
from sdcli.inputs.paths import cache_folder

MODEL: Final = "model.xml"
"""The file that describes a network; its weights are beside it."""

_MANIFEST: Final = "manifest.json"


def find_or_convert(facts: Mapping[str, Any], convert: Callable[[Path], None]) -> Path:
    """Return the file of the converted network with these facts.

    `convert` writes it, with the weights beside it, where it is missing or damaged. Raises
    OutputError.
    """
    text = json.dumps(facts, sort_keys=True, default=repr)
    folder = cache_folder() / "openvino" / hashlib.sha256(text.encode()).hexdigest()[:32]
    if not _is_intact(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
                _fill(Path(name) / "new", facts, convert)
                _move(Path(name) / "new", folder, Path(name) / "old")
        except OSError as error:
            raise write_error(folder.parent, error.strerror or str(error)) from error
    return folder / MODEL


def write_error(folder: Path, problem: str) -> OutputError:
    """Return the error of a converted network that cannot be written."""
    return OutputError(
        f"backend: cannot write the network for OpenVINO into {folder}: {problem}",
        code="output.cache",
        hint="set XDG_CACHE_HOME to a folder with enough space",
    )


def _fill(folder: Path, facts: Mapping[str, Any], convert: Callable[[Path], None]) -> None:
    folder.mkdir()
    convert(folder / MODEL)
    digests = {path.name: _hash(path) for path in sorted(folder.iterdir())}
    manifest = {"facts": facts, "sha256": digests}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2, default=repr), "utf-8")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move(new: Path, folder: Path, old: Path) -> None:
    """Put the new folder in its place, and what is there, which is damaged, out of the way."""
    # Another process may have been faster, with the same contents.
    if _is_intact(folder):
        return
    with suppress(FileNotFoundError):
        os.replace(folder, old)
    os.replace(new, folder)
    for name, digest in _read_digests(folder).items():
        hash_cache.store(state_of(folder / name), digest)


def _is_intact(folder: Path) -> bool:
    """Whether all files are there with the contents that they were written with."""
    try:
        digests = _read_digests(folder)
        return MODEL in digests and all(
            file_sha256(folder / name) == digest for name, digest in digests.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _read_digests(folder: Path) -> dict[str, str]:
    digests: dict[str, str] = json.loads((folder / _MANIFEST).read_bytes())["sha256"]
    return digests
