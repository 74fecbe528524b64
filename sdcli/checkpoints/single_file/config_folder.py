"""Write the folder with the configuration of a single file, in the layout of Diffusers.

Everything that reads a model reads its configuration from such a folder. It is made once, and
named after its contents.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Final

from sdcli.checkpoints.component_configs import DEFAULTS_FILE
from sdcli.checkpoints.json_files import read_bytes, read_json
from sdcli.checkpoints.single_file import configurations as facts
from sdcli.checkpoints.single_file.families import Family
from sdcli.checkpoints.single_file.training import Distillation, Prediction
from sdcli.checkpoints.single_file.vocabulary import tokenizer_files, vocabulary_files
from sdcli.inputs.paths import cache_folder

Files = dict[str, bytes]
"""Contents of files by their path in the folder."""

_SUFFIXES: Final = (".json", ".txt")
_SCHEDULER: Final = "scheduler/scheduler_config.json"

# The folder changes with what is written into it: a new version must not use the old one.
_VERSION: Final = b"1"


def family_folder(
    family: Family, prediction: Prediction, distillation: Distillation | None
) -> Path:
    """Return a folder with the configuration of a published family."""
    configs = facts.component_configs(family, prediction, distillation)
    documents = {
        "model_index.json": facts.model_index(family, configs),
        DEFAULTS_FILE: facts.default_settings(family, prediction, distillation),
        _SCHEDULER: configs.pop("scheduler"),
        **{f"{name}/config.json": config for name, config in configs.items()},
    }
    files = {path: _to_json(document) for path, document in documents.items()}
    tokenizers = facts.pad_tokens(family)
    for tokenizer, pad_token in tokenizers.items():
        for name, data in tokenizer_files(pad_token).items():
            files[f"{tokenizer}/{name}"] = data

    def add_vocabulary(folder: Path) -> None:
        for name, data in vocabulary_files().items():
            for tokenizer in tokenizers:
                (folder / tokenizer / name).write_bytes(data)

    return _write_folder(files, add_vocabulary)


def changed_folder(folder: Path, prediction_type: str) -> Path:
    """Return a folder with the configuration in `folder`, but for the prediction type.

    Raises ModelError or CorruptError for files that cannot be read.
    """
    files = {
        str(path.relative_to(folder)): read_bytes(path)
        for path in sorted((*folder.glob("*"), *folder.glob("*/*")))
        if path.suffix in _SUFFIXES and path.is_file()
    }
    scheduler = read_json(folder / _SCHEDULER)
    files[_SCHEDULER] = _to_json({**scheduler, "prediction_type": prediction_type})
    return _write_folder(files)


def _write_folder(files: Files, complete: Callable[[Path], None] | None = None) -> Path:
    """Return the folder with these files, and those that `complete` adds to a new one.

    It is in the cache, or in a temporary folder where that cannot be written.
    """
    digest = hashlib.sha256(_VERSION)
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    folder = cache_folder() / "configurations" / digest.hexdigest()[:32]
    if (folder / "model_index.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
            new = Path(name) / "folder"
            _fill(new, files, complete)
            # Another process may have been faster, with the same contents.
            if not folder.exists():
                os.replace(new, folder)
        return folder
    except OSError:
        temporary = _temporary_folder(folder.name)
        if not (temporary / "model_index.json").is_file():
            _fill(temporary, files, complete)
        return temporary


def _fill(
    folder: Path, files: Mapping[str, bytes], complete: Callable[[Path], None] | None
) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if complete:
        complete(folder)


@cache
def _temporary_folder(name: str) -> Path:
    """Return a new folder that is deleted when the process ends."""
    import atexit

    folder = Path(mkdtemp(prefix="sdcli-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / name


def _to_json(document: Any) -> bytes:
    return json.dumps(document, indent=2).encode()
