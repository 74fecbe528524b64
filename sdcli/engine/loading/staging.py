"""Lay out the verified files of a component in a folder of their own, to load them from there.

Diffusers and Transformers choose among the files of a folder themselves: an index of shards or a
pickle beside the verified file would be loaded in its place, and keys of a configuration can name
code. In the folder that is made here, there is nothing else to choose.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sdcli.checkpoints.weight_files import WeightFiles, stem_of
from sdcli.errors import OutputError


@contextmanager
def staged(
    name: str, config: Mapping[str, Any], weights: WeightFiles | None = None
) -> Iterator[Path]:
    """Make a temporary folder with the configuration of a component and links to its weights.

    The weights lose their variant there. Without `weights`, the folder has the configuration only.
    """
    with staged_files({"config.json": json.dumps(config).encode()}) as folder:
        if weights:
            with _disk_errors_as_output_errors():
                _link_weights(folder, stem_of(name), weights)
        yield folder


@contextmanager
def staged_files(files: Mapping[str, bytes]) -> Iterator[Path]:
    """Make a temporary folder with files of these names and contents."""
    with _disk_errors_as_output_errors():
        folder = TemporaryDirectory(prefix="sdcli-", ignore_cleanup_errors=True)
    with folder as name:
        with _disk_errors_as_output_errors():
            for file, data in files.items():
                (Path(name) / file).write_bytes(data)
        yield Path(name)


@contextmanager
def _disk_errors_as_output_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"a temporary folder for the model cannot be written: {error.strerror}",
            code="output.temporary",
            hint="free some space in the temporary folder, or set TMPDIR to another one",
        ) from error


def _link_weights(folder: Path, stem: str, weights: WeightFiles) -> None:
    if weights.tensors is None:
        _link(weights.path, folder / f"{stem}.safetensors")
        return
    for file in weights.files:
        _link(file, folder / file.name)
    index = {"metadata": {}, "weight_map": dict(weights.tensors)}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def _link(source: Path, target: Path) -> None:
    source = source.resolve()
    # Windows gives symbolic links to administrators only, and hard links within one drive.
    for link in (os.symlink, os.link):
        try:
            link(source, target)
        except OSError:
            continue
        return
    shutil.copyfile(source, target)
