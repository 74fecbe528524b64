"""Read the tensors of a file of weights, safetensors or pickled, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sdcli.checkpoints.file_start import FileStart, read_start, wrong_start_error
from sdcli.checkpoints.pickles.container import PickledFile, corrupt, read_pickled
from sdcli.checkpoints.pickles.data import read_chunks
from sdcli.checkpoints.pickles.globals_report import GlobalsReport, sort_globals
from sdcli.checkpoints.pickles.inert_values import TensorView
from sdcli.checkpoints.pickles.tensors import find_tensors
from sdcli.checkpoints.safetensors_header import TensorInfo, read_header
from sdcli.errors import UnsafeError

_CHUNK_BYTES: Final = 8 << 20


@dataclass(frozen=True, kw_only=True)
class SourceTensor:
    """A tensor of a file. `chunks` reads its data, in pieces of whole elements."""

    dtype: str
    shape: tuple[int, ...]
    byte_count: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, kw_only=True)
class WeightSource:
    """The tensors of a file of weights by name.

    `dropped` names what else a pickle has, and what that is; `names` are the globals it would
    import, None for safetensors.
    """

    path: Path
    tensors: Mapping[str, SourceTensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    names: GlobalsReport | None = None


def read_weights(path: Path) -> WeightSource:
    """Read the names and shapes of a file's tensors. Raises CorruptError or UnsafeError."""
    start = read_start(path)
    if start in (FileStart.ZIP, FileStart.PICKLE):
        return _pickled_source(read_pickled(path))
    # The header of a damaged file may begin with anything; its reader says what is wrong.
    if start not in (FileStart.SAFETENSORS, FileStart.UNKNOWN):
        raise wrong_start_error(path, start)
    return _safetensors_source(path)


def dangerous_names_error(path: Path, names: GlobalsReport) -> UnsafeError | None:
    """Return the error of a pickle that names functions which run code, None if it has none."""
    if not names.dangerous:
        return None
    return UnsafeError(
        f"{path} names {', '.join(names.dangerous):.200}, which can run code; nothing was run",
        code="model.malicious_pickle",
        hint="do not load this file with any program; get the model from its author",
    )


def _pickled_source(file: PickledFile) -> WeightSource:
    names = sort_globals(file.names)
    try:
        found = find_tensors(file)
    except UnsafeError as error:
        raise dangerous_names_error(file.path, names) or error from None

    def tensor(view: TensorView) -> SourceTensor:
        return SourceTensor(
            dtype=view.dtype,
            shape=view.shape,
            byte_count=view.bytes,
            chunks=lambda: read_chunks(file, view),
        )

    return WeightSource(
        path=file.path,
        tensors={name: tensor(view) for name, view in found.tensors.items()},
        dropped=found.dropped,
        names=names,
    )


def _safetensors_source(path: Path) -> WeightSource:
    header = read_header(path)

    def tensor(info: TensorInfo) -> SourceTensor:
        return SourceTensor(
            dtype=info.dtype,
            shape=info.shape,
            byte_count=info.end - info.begin,
            chunks=lambda: _read(path, info.begin, info.end),
        )

    tensors = {name: tensor(info) for name, info in header.tensors.items()}
    return WeightSource(path=path, tensors=tensors, metadata=header.metadata)


def _read(path: Path, begin: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(begin)
        while begin < end:
            chunk = file.read(min(_CHUNK_BYTES, end - begin))
            if not chunk:
                raise corrupt(path, "was truncated while it was read")
            begin += len(chunk)
            yield chunk
