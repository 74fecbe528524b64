"""Find and check the models of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdcli.checkpoints import file_hashes, hub_cache, single_files
from sdcli.checkpoints.adapters.embedded_addons import (
    embedded_weights,
    find_embedded,
    is_embedded_addon,
)
from sdcli.checkpoints.file_start import FileStart, read_start
from sdcli.checkpoints.hub_cache import CachedModel
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.safetensors_header import read_header
from sdcli.checkpoints.single_files import SingleFile
from sdcli.checkpoints.weight_files import PICKLE_SUFFIXES
from sdcli.checkpoints.weight_source import WeightSource, dangerous_names_error, read_weights
from sdcli.errors import ModelError, SdcliError, UsageError
from sdcli.inputs.paths import expand_user
from sdcli.pipeline_spec import EMBEDDED

_CHECKSUMS: Final = "the checksums in the file"
_EARLIER: Final = "its hash when sdcli last read it; size and time have not changed"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A file that was checked. `problem` is None if none was found.

    `compared_with` says where the hashes are from that it has; without one, an unaltered file
    cannot be told from an altered one that is complete.
    """

    model: str
    file: str
    problem: str | None
    compared_with: tuple[str, ...] = ()
    is_cached: bool = False


def locate(name: str, folders: Sequence[str]) -> tuple[str, Path]:
    """Return the name and the path of a model: a file, a folder, or what `find_model` finds."""
    path = expand_user(name)
    if name == EMBEDDED:
        return name, EMBEDDED_FOLDER
    if is_embedded_addon(name):
        return name, find_embedded(name)
    if path.exists():
        return path.name, path
    found = find_model(name, folders)
    return found.name, found.path


def find_model(name: str, folders: Sequence[str]) -> CachedModel | SingleFile:
    """Return a model of the cache, or a file of the folders. Raises ModelError."""
    if file := single_files.find_file(name, folders):
        return file
    cached = {model.name: model for model in hub_cache.list_cached()}
    if name in cached:
        return cached[name]
    known = [*cached, *(file.name for file in single_files.list_files(folders))]
    raise single_files.unknown_name_error(name, known)


def verify(
    names: Sequence[str], folders: Sequence[str], sha256: str | None = None
) -> Iterator[Checked]:
    """Check models by name, path or id, by default all of the cache and the folders.

    Files of the cache are compared with the hub's hashes, others with those in files beside them
    and with those of their last reading. All files of weights must be complete by their own
    headers, and pickles by the checksums in them. `sha256` is that of a single file, or the
    beginning of it. Raises ModelError and UsageError.
    """
    targets = [_target(name, folders) for name in names] if names else _all(folders)
    if sha256 and (len(targets) != 1 or not isinstance(targets[0], SingleFile)):
        raise UsageError("--sha256 needs the name of one file", code="usage.sha256")
    for target in targets:
        if isinstance(target, CachedModel):
            yield from _verify_cached(target)
        else:
            yield _verify_file(target, sha256)


def _all(folders: Sequence[str]) -> list[CachedModel | SingleFile]:
    return [*hub_cache.list_cached(), *single_files.list_files(folders)]


def _target(name: str, folders: Sequence[str]) -> CachedModel | SingleFile:
    path = embedded_weights(name) if is_embedded_addon(name) else expand_user(name)
    if path.is_file():
        return SingleFile(name=path.name, path=path, bytes=path.stat().st_size)
    if path.is_dir():
        raise ModelError(
            f"{name} is a folder; no hashes of its files are known",
            code="model.no_hashes",
            hint=f"sdcli inspect {name} checks that its files are complete",
        )
    return find_model(name, folders)


def _verify_cached(model: CachedModel) -> Iterator[Checked]:
    for name, problem in hub_cache.damaged_files(model.path, model.files):
        path = model.path / name
        if not problem and path.suffix == ".safetensors":
            problem = _weights_problem(path)
        yield Checked(
            model=model.name,
            file=name,
            problem=problem,
            compared_with=() if problem else ("the hub",),
            is_cached=True,
        )


def _verify_file(file: SingleFile, sha256: str | None) -> Checked:
    expected = {given.origin: given.sha256 for given in file_hashes.given_hashes(file.path)}
    problem = _weights_problem(file.path)
    if not problem:
        if earlier := file_hashes.earlier_hash(file.path):
            expected[_EARLIER] = earlier
        if sha256:
            expected["--sha256"] = sha256.lower()
        problem = _hash_problem(file.path, expected)
    if not problem and read_start(file.path) == FileStart.ZIP:
        expected[_CHECKSUMS] = ""
    compared = () if problem else tuple(expected)
    return Checked(model=file.name, file=str(file.path), problem=problem, compared_with=compared)


def _weights_problem(path: Path) -> str | None:
    try:
        if path.suffix.lower() in PICKLE_SUFFIXES:
            _read_all(read_weights(path))
        else:
            read_header(path)
    except SdcliError as error:
        return error.message.removeprefix(f"{path} ")
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None


def _read_all(source: WeightSource) -> None:
    """Read every tensor of a pickle, for the checksums. Raises UnsafeError or CorruptError."""
    if source.names and (error := dangerous_names_error(source.path, source.names)):
        raise error
    for tensor in source.tensors.values():
        for _ in tensor.chunks():
            pass


def _hash_problem(path: Path, expected: Mapping[str, str]) -> str | None:
    """Compare the hash of a file with those that it should have, by their origins."""
    try:
        # Read in any case: what is kept of it tells at the next time whether the file has changed.
        actual = file_hashes.hash_again(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    for origin, digest in expected.items():
        if not actual.startswith(digest):
            return f"has the hash {actual}, not {digest} ({origin})"
    return None
