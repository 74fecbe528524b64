"""Read textual inversion embeddings: their vectors for each text encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Final

from sdcli.checkpoints.adapters.embedded_addons import (
    embedded_hint,
    find_embedded,
    is_embedded_addon,
)
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.single_file.other_kinds import find_other_kind
from sdcli.checkpoints.weight_source import (
    SourceTensor,
    WeightSource,
    dangerous_names_error,
    read_weights,
)
from sdcli.errors import ModelError, did_you_mean, quoted
from sdcli.fields.embedding import SUFFIXES, embedding_stem
from sdcli.inputs.paths import expand_user
from sdcli.inputs.regular_file import special_kind
from sdcli.inputs.similar_paths import similar_path_hint

ONLY: Final = "clip"
"""The key of the vectors of a file for one text encoder."""

XL_KEYS: Final = ("clip_l", "clip_g")
"""The keys of the vectors for the two text encoders of Stable Diffusion XL, in their order."""

_USUAL_KEY: Final = "emb_params"
_FLOATS: Final = frozenset({"F16", "BF16", "F32", "F64"})
_MOST_FILES: Final = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingFile:
    """The tensors of a file: one under ONLY, or those of Stable Diffusion XL under XL_KEYS."""

    path: Path
    tensors: Mapping[str, SourceTensor]

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of each vector, for each text encoder."""
        return tuple(tensor.shape[-1] for tensor in self.tensors.values())

    @property
    def vectors(self) -> int:
        """The places that the embedding takes among the tokens of a prompt."""
        return rows_of(next(iter(self.tensors.values())))


def rows_of(tensor: SourceTensor) -> int:
    """The vectors of a tensor, of which a single one may be a row or a list."""
    return 1 if len(tensor.shape) == 1 else tensor.shape[0]


@cache_by_files
def read_embedding(path: Path) -> EmbeddingFile:
    """Read the header of a file, or its pickle without running anything in it.

    Raises CorruptError for a damaged file, UnsafeError for a malicious pickle, and ModelError for
    what is no embedding, or has no vectors.
    """
    source = read_weights(path)
    if source.names and (error := dangerous_names_error(path, source.names)):
        raise error
    tensors = _choose(source)
    if not tensors:
        raise _kind_error(source)
    file = EmbeddingFile(path=path, tensors=tensors)
    counts = [rows_of(tensor) for tensor in tensors.values()]
    if not all(counts) or not all(file.widths):
        raise _embedding_error(path, "has no vectors")
    if len(set(counts)) > 1:
        raise _embedding_error(
            path, f"has {counts[0]} vectors for one text encoder and {counts[1]} for the other"
        )
    return file


def _choose(source: WeightSource) -> dict[str, SourceTensor]:
    """The tensors with the vectors: by their names, or else the only one there is."""
    found = {
        name: tensor
        for name, tensor in source.tensors.items()
        if len(tensor.shape) in (1, 2) and tensor.dtype in _FLOATS
    }
    if all(key in found for key in XL_KEYS):
        return {key: found[key] for key in XL_KEYS}
    halves = [key for key in XL_KEYS if key in found]
    if halves:
        [missing] = set(XL_KEYS).difference(halves)
        raise _embedding_error(source.path, f"has {halves[0]} but not {missing}")
    if _USUAL_KEY in found:
        return {ONLY: found[_USUAL_KEY]}
    # Whole numbers, such as the ids of the words that were trained, are no vectors.
    return {ONLY: next(iter(found.values()))} if len(found) == 1 else {}


def _kind_error(source: WeightSource) -> ModelError:
    other = find_other_kind({name: tensor.shape for name, tensor in source.tensors.items()})
    count = len(source.tensors)
    what = f"has {count} tensor{'s' * (count != 1)}"
    if other and other[0].id != "embedding":
        what = f"is {other[0].name}"
    return _embedding_error(source.path, f"{what}, not a textual inversion embedding")


def _embedding_error(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path.name} {reason}",
        code="model.embedding",
        hint=f"sdcli inspect {quote(str(path))} shows what it has",
    )


def find_embedding(name: str, folder: str | None) -> Path:
    """Return the file at a path, of a name in `folder` or that comes with the embedded model.

    Raises ModelError.
    """
    if is_embedded_addon(name):
        return find_embedded(name, "embedding")
    candidates = [expand_user(name), *([expand_user(folder) / name] if folder else [])]
    for path in candidates:
        for suffix in ("", *SUFFIXES) if path.name else ():
            spelled = path.with_name(path.name + suffix)
            if found := _usable(spelled):
                return found
    files = embeddings_in(expand_user(folder)) if folder else {}
    if name.lower() in files:
        return files[name.lower()]
    where = f" or in {folder}" if folder else ""
    raise ModelError(
        f"no embedding at {quoted(name)}{where}",
        code="model.not_found",
        hint=did_you_mean(embedding_stem(name), [path.stem for path in files.values()])
        or embedded_hint(name, "embedding")
        or similar_path_hint(expand_user(name))
        or ("use a .safetensors, .pt or .bin file or embedded:holiday"
            + ("" if folder else "; --embedding-dir DIR looks names up in a folder")),
    )  # fmt: skip


def _usable(path: Path) -> Path | None:
    if path.suffix.lower() not in SUFFIXES:
        return None
    if special := special_kind(path):
        raise ModelError(f"{path} is {special}, not an embedding", code="model.not_a_file")
    return path if path.is_file() else None


def embeddings_in(folder: Path) -> Mapping[str, Path]:
    """The files of a folder and the folders in it, by their names in lower case."""
    files, states = _files_in(folder.absolute())
    # A file that is new, or gone, changes the folder that it is in.
    if states != _folder_states(states):
        _files_in.cache_clear()
        files, _ = _files_in(folder.absolute())
    return files


@lru_cache(maxsize=8)
def _files_in(folder: Path) -> tuple[Mapping[str, Path], Mapping[Path, int]]:
    """The files, and the state of each folder that they may be in."""
    states = _folder_states([folder, *(path for path in folder.rglob("*") if path.is_dir())])
    files = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    # Of two files of one name, the first in the order of paths counts.
    found = sorted(islice(files, _MOST_FILES), reverse=True)
    return {path.stem.lower(): path for path in found}, states


def _folder_states(folders: Iterable[Path]) -> dict[Path, int]:
    states = {}
    for folder in folders:
        with suppress(OSError):
            states[folder] = folder.stat().st_mtime_ns
    return states
