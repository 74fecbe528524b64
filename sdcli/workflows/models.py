"""Find and check the models of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcli.checkpoints import hub_cache, single_files
from sdcli.checkpoints.hub_cache import CachedModel
from sdcli.checkpoints.safetensors_header import read_header
from sdcli.checkpoints.single_files import SingleFile
from sdcli.checkpoints.weight_files import PICKLE_SUFFIXES
from sdcli.checkpoints.weight_source import WeightSource, dangerous_names_error, read_weights
from sdcli.errors import ModelError, SdcliError, UsageError
from sdcli.inputs.paths import expand_user


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A file that was checked. `problem` is None if it is complete and unaltered."""

    model: str
    file: str
    problem: str | None
    is_cached: bool = False


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

    Files of the cache are compared with the hub's hashes. All files of weights must be complete by
    their own headers, and pickles by the checksums in them. `sha256` is that of a single file, or
    the beginning of it. Raises ModelError and UsageError.
    """
    targets = [_target(name, folders) for name in names] if names else _all(folders)
    if sha256 and (len(targets) != 1 or not isinstance(targets[0], SingleFile)):
        raise UsageError("--sha256 needs the name of one file", code="usage.sha256")
    for target in targets:
        if isinstance(target, CachedModel):
            yield from _verify_cached(target)
        else:
            problem = _weights_problem(target.path) or _hash_problem(target.path, sha256)
            yield Checked(model=target.name, file=str(target.path), problem=problem)


def _all(folders: Sequence[str]) -> list[CachedModel | SingleFile]:
    return [*hub_cache.list_cached(), *single_files.list_files(folders)]


def _target(name: str, folders: Sequence[str]) -> CachedModel | SingleFile:
    path = expand_user(name)
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
        yield Checked(model=model.name, file=name, problem=problem, is_cached=True)


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


def _hash_problem(path: Path, expected: str | None) -> str | None:
    if not expected:
        return None
    actual = hub_cache.read_sha256(path)
    if actual.startswith(expected.lower()):
        return None
    return f"has the hash {actual}, not {expected}"
