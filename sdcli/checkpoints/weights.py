"""Choose, check and hash weight files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

from sdcli.checkpoints.file_hashes import check_hash, file_sha256, sha256
from sdcli.checkpoints.json_files import check_regular_file, read_json, shorten
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, read_header
from sdcli.checkpoints.weight_dtypes import check_dtypes
from sdcli.checkpoints.weight_files import (
    PICKLE_SUFFIXES,
    TensorSource,
    WeightFiles,
    choose_weight_file,
    convert_hint,
    stem_of,
)
from sdcli.errors import CorruptError, ModelError, UnsafeError


def find_weights(path: Path, component: str, variant: str | None) -> WeightFiles:
    """Return the weights of the component in the folder `path`, or in `path` if it is a file.

    Raises UnsafeError for pickles, ModelError if there are no weights or a shard is missing, and
    CorruptError for a damaged index of shards.
    """
    if path.is_file():
        return WeightFiles(path=path, files=(path,))
    names = [child.name for child in path.iterdir()] if path.is_dir() else []
    name = choose_weight_file(names, stem_of(component), variant)
    if not name:
        raise _missing_weights_error(path, component, names)
    if name.endswith(".json"):
        return _read_index(component, path / name, names)
    _check_files(component, [path / name])
    return WeightFiles(path=path / name, files=(path / name,))


def _check_files(component: str, files: Sequence[Path]) -> None:
    """Raise CorruptError for a pipe, a device or a folder, ModelError for a link to nothing."""
    for file in files:
        try:
            check_regular_file(file)
        except CorruptError as error:
            raise CorruptError(f"{component}: {error.message}", code=error.code) from error
        except OSError as error:
            raise ModelError(
                f"{component}: cannot read {file}: {error.strerror}",
                code="model.incomplete",
                hint="download the model again",
            ) from error


def _read_index(component: str, index: Path, names: Sequence[str]) -> WeightFiles:
    tensors = read_json(index).get("weight_map")
    if not (isinstance(tensors, dict) and tensors and _are_file_names(tensors.values())):
        raise CorruptError(
            f"{component}: {index}: weight_map is {shorten(tensors)}; it must map tensors to files "
            "of the same folder",
            code="model.corrupt",
            hint="download the file again",
        )
    shards = sorted(set(tensors.values()))
    for shard in shards:
        if not shard.endswith(".safetensors"):
            raise _pickle_error(component, index, f"points to {shorten(shard)}, not to safetensors")
    missing = [shard for shard in shards if shard not in names]
    if missing:
        raise ModelError(
            f"{component}: {index} names {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            code="model.incomplete",
            hint="download the model again",
        )
    files = tuple(index.parent / shard for shard in shards)
    _check_files(component, files)
    return WeightFiles(path=index, files=files, tensors=tensors)


def _are_file_names(values: Iterable[object]) -> bool:
    # A separator of any system: the folder may be copied to another one.
    return all(isinstance(value, str) and not re.search(r"[/\\:\0]", value) for value in values)


def _missing_weights_error(
    folder: Path, component: str, names: Iterable[str]
) -> UnsafeError | ModelError:
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    if pickles:
        return _pickle_error(
            component,
            folder / pickles[0],
            "is a pickle",
            convert_hint(folder / pickles[0], folder / f"{stem_of(component)}.safetensors"),
        )
    return ModelError(
        f"{component}: no .safetensors file in {folder}",
        code="model.incomplete",
        hint="download the model again",
    )


def _pickle_error(
    component: str,
    path: Path,
    problem: str,
    hint: str = "use a model with .safetensors files",
) -> UnsafeError:
    return UnsafeError(
        f"{component}: {path} {problem}, which can run code when it is loaded",
        code="model.pickle",
        hint=hint,
    )


def check_weights(component: str, weights: WeightFiles) -> SafetensorsHeader:
    """Check with the headers alone that all files are complete, and return their tensors.

    The tensors of shards must be those of the index. Raises CorruptError, and ModelError for
    weights that are no floating-point numbers.
    """
    header = _read_tensors(component, weights)
    check_dtypes(component, weights.path, header.tensors)
    return header


def _read_tensors(component: str, weights: WeightFiles) -> SafetensorsHeader:
    headers = read_headers(component, weights)
    if weights.tensors is not None:
        _check_shards(component, weights.path, weights.tensors, headers)
    if weights.sources is not None:
        return _select_tensors(headers[weights.path.name], weights.sources)
    return SafetensorsHeader(
        tensors={
            name: info for header in headers.values() for name, info in header.tensors.items()
        },
        metadata=next(iter(headers.values())).metadata,
    )


def read_headers(component: str, weights: WeightFiles) -> dict[str, SafetensorsHeader]:
    """Read the header of each file, by its name. Raises CorruptError that names the component."""
    try:
        return {file.name: read_header(file) for file in weights.files}
    except CorruptError as error:
        raise CorruptError(
            f"{component}: {error.message}", code=error.code, hint=error.hint
        ) from error


def _select_tensors(
    header: SafetensorsHeader, sources: Mapping[str, TensorSource]
) -> SafetensorsHeader:
    """Return the tensors of a component in a single file, as they are after their changes."""
    tensors = {name: (source, header.tensors[source.name]) for name, source in sources.items()}
    return SafetensorsHeader(
        tensors={
            name: replace(tensor, shape=source.shape(tensor.shape))
            for name, (source, tensor) in tensors.items()
        },
        metadata=header.metadata,
    )


def _check_shards(
    component: str,
    index: Path,
    tensors: Mapping[str, str],
    headers: Mapping[str, SafetensorsHeader],
) -> None:
    """Raise CorruptError for a tensor that a shard lacks, or has without being in the index."""
    listed = {(shard, tensor) for tensor, shard in tensors.items()}
    present = {(shard, tensor) for shard, header in headers.items() for tensor in header.tensors}
    for entries, problem in ((listed - present, "lacks"), (present - listed, "unexpectedly has")):
        if entries:
            shard, tensor = min(entries)
            more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
            raise CorruptError(
                f"{component}: {index.parent / shard} {problem} {shorten(tensor)}{more}, "
                f"by {index.name}",
                code="model.corrupt",
                hint="download the files again",
            )


class WeightHashes:
    """SHA-256 hashes of weight files, computed in a background thread.

    Hashing gigabytes takes seconds, which pass during the denoising.
    """

    def __init__(self, weights: Mapping[str, WeightFiles]) -> None:
        self._digests: dict[Path, str] = {}
        self._weights = weights
        # A daemon, so that an interrupted run does not wait for it.
        self._thread = Thread(target=self._run, name="sdcli-hashes", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for file in (file for files in self._weights.values() for file in files.files):
            # Of a file that was deleted after loading, the record has no hash.
            with suppress(OSError):
                self._digests[file] = file_sha256(file)

    def result(self) -> dict[str, str]:
        """Wait for the thread and return the hash of each component.

        Raises CorruptError for a file of which another hash is given.
        """
        self._thread.join()
        hashes = {}
        for component, weights in self._weights.items():
            if self._digests.keys() >= set(weights.files):
                for file in weights.files:
                    check_hash(component, file, self._digests[file])
                hashes[component] = hash_weights(weights, self._digests.__getitem__)
        return hashes


def hash_weights(weights: WeightFiles, hash_file: Callable[[Path], str] = sha256) -> str:
    """Return one SHA-256 for all files of a component. Raises OSError.

    Shards give the hash of the lines that `sha256sum` prints for them, in the order of their names.
    """
    if weights.tensors is None:
        return hash_file(weights.path)
    lines = "".join(f"{hash_file(file)}  {file.name}\n" for file in weights.files)
    return hashlib.sha256(lines.encode()).hexdigest()
