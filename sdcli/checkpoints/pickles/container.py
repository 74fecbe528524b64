"""Open the containers of pickled checkpoints: zip files, and the single stream of PyTorch < 1.6."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from sdcli.checkpoints.file_start import FileStart, read_start, wrong_start_error
from sdcli.checkpoints.pickles.inert_values import DTYPE_BYTES, Global, Names, Storage, malformed
from sdcli.checkpoints.pickles.machine import MAX_PICKLE_BYTES, read_pickle
from sdcli.checkpoints.pickles.reduce import storage_of
from sdcli.errors import CorruptError, UnsafeError

# PyTorch's own numbers, by which it knows its files of before 1.6.
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION: Final = 1001
_KEY: Final = r"[A-Za-z0-9_-]{1,64}"
_MEMBER: Final = re.compile(
    rf"(?P<root>[^/\\]+)/(data\.pkl|version|byteorder|\.format_version|\.storage_alignment|data/"
    rf"|\.data/serialization_id|data/(?P<key>{_KEY}))"
)
_TORCHSCRIPT: Final = re.compile(r"[^/]+/(constants\.pkl|code/.*)", re.DOTALL)
_MAX_MEMBERS: Final = 100_000
# Zeros are compressed a thousandfold: a small file must not fill the disk.
_MAX_RATIO: Final = 100
_COMPRESSED_BYTES: Final = 64 << 20
"""Uncompressed size up to which any ratio is accepted."""


@dataclass(frozen=True, kw_only=True)
class PickledFile:
    """A checkpoint whose pickle was read as inert objects, without its tensors' data.

    `root` is what the file holds, `offsets` are the places of a legacy file's storages, and
    `members` those of a zip.
    """

    path: Path
    start: FileStart
    root: Any
    names: Names
    offsets: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def open_storage(self, storage: Storage) -> Iterator[BinaryIO]:
        """Open the data of a storage at its first byte. Raises CorruptError."""
        with errors_as_corrupt(self.path):
            if self.members:
                member = self.members[storage.key]
                with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                    yield file  # type: ignore[misc]  # IO[bytes] for BinaryIO
                return
            with self.path.open("rb") as stream:
                stream.seek(self.offsets[storage.key])
                yield stream


def read_pickled(path: Path) -> PickledFile:
    """Read what a pickled checkpoint holds, without running anything and without its data.

    Raises CorruptError for damaged files and those that are no checkpoint at all, and UnsafeError
    for kinds of pickles that are not read, and files that no version of PyTorch writes.
    """
    start = read_start(path)
    if start not in (FileStart.ZIP, FileStart.PICKLE):
        raise wrong_start_error(path, start)
    try:
        with errors_as_corrupt(path):
            if start is FileStart.ZIP:
                return _read_zip(path)
            return _read_legacy(path)
    except UnsafeError as error:
        raise UnsafeError(f"{path} {error.message}", code=error.code, hint=error.hint) from error


@contextmanager
def errors_as_corrupt(path: Path) -> Iterator[None]:
    """Translate what zipfile raises for a damaged file into CorruptError."""
    try:
        yield
    # RuntimeError: an encrypted member. NotImplementedError: an unknown compression.
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise corrupt(path, f"is damaged ({error})") from error
    except OSError as error:
        raise corrupt(path, f"cannot be read ({error.strerror or error})") from error


def corrupt(path: Path, problem: str) -> CorruptError:
    """Return the error of a damaged file."""
    return CorruptError(f"{path} {problem}", code="model.corrupt", hint="download the file again")


def _read_zip(path: Path) -> PickledFile:
    with zipfile.ZipFile(path) as archive:
        members = _check_members(archive)
        storages: dict[str, Storage] = {}
        names = Names()
        [pickle] = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        # Read whole, so that its checksum is checked before anything in it counts.
        with archive.open(pickle) as file:
            data = file.read(MAX_PICKLE_BYTES + 1)
        root = read_pickle(io.BytesIO(data), names, _collect(storages))
        _check_sizes(path, archive, members, storages)
    return PickledFile(path=path, start=FileStart.ZIP, root=root, names=names, members=members)


def _check_members(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the member of each storage's key. Raises UnsafeError unless torch.save wrote them."""
    infos = archive.infolist()
    names = [info.filename for info in infos]
    # Of two members with one name, readers differ in which one they take.
    if len(names) > _MAX_MEMBERS or len(set(names)) != len(names):
        raise malformed("is a zip file with too many members, or two of one name")
    if any(_TORCHSCRIPT.fullmatch(name) for name in names):
        raise UnsafeError(
            "is a TorchScript program, not a file of weights",
            code="model.torchscript",
            hint="get the weights as .safetensors",
        )
    if sum(name.endswith("/data.pkl") for name in names) != 1:
        raise malformed("is a zip file, but not a PyTorch checkpoint: it needs one data.pkl")
    for info in infos:
        _check_member(info)
    matches = {name: _MEMBER.fullmatch(name) for name in names}
    if unknown := [name for name, match in matches.items() if not match]:
        raise malformed(f"is a zip file with members that no checkpoint has: {unknown[0]!r:.60}")
    found = [match for match in matches.values() if match]
    if len({match["root"] for match in found}) != 1:
        raise malformed("is a zip file of several folders")
    _check_byte_order(archive, names)
    return {match["key"]: match[0] for match in found if match["key"]}


def _check_member(info: zipfile.ZipInfo) -> None:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise malformed("is a zip file with a compression that PyTorch does not use")
    is_large = info.file_size > max(_COMPRESSED_BYTES, _MAX_RATIO * info.compress_size)
    if is_large and info.compress_type != zipfile.ZIP_STORED:
        raise malformed(f"would expand to {info.file_size >> 20} MiB from a compressed member")


def _check_byte_order(archive: zipfile.ZipFile, names: list[str]) -> None:
    for name in names:
        if name.endswith("/byteorder") and archive.open(name).read(16).strip() != b"little":
            raise malformed("was saved on a big-endian machine, which is not supported")


def _collect(storages: dict[str, Storage]) -> Any:
    """Return the function that makes the storages of a pickle, and notes each of them."""

    def make(identifier: object) -> Storage | Global:
        storage = storage_of(identifier)
        if isinstance(storage, Global):
            return storage
        known = storages.setdefault(storage.key, storage)
        # The size is checked once for each key, so all descriptions have to agree.
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            raise malformed("describes the same data in two ways")
        return known

    return make


def _check_sizes(
    path: Path,
    archive: zipfile.ZipFile,
    members: Mapping[str, str],
    storages: Mapping[str, Storage],
) -> None:
    for key, storage in storages.items():
        if key not in members:
            raise corrupt(path, f"lacks the data of a tensor (data/{key[:64]})")
        size = archive.getinfo(members[key]).file_size
        if size != storage.count * DTYPE_BYTES[storage.dtype]:
            raise malformed(f"has {size} bytes of data for {storage.count} numbers")


def _read_legacy(path: Path) -> PickledFile:
    """Read the pickles of PyTorch < 1.6: three of the format, the object, and the storages' keys.

    The data follows, each storage behind its size.
    """
    storages: dict[str, Storage] = {}
    names = Names()
    size = path.stat().st_size
    with path.open("rb") as file:
        if read_pickle(file, names, _no_reference) != _LEGACY_MAGIC:
            raise _not_pytorch(names)
        version = read_pickle(file, names, _no_reference)
        system = read_pickle(file, names, _no_reference)
        if version != _LEGACY_VERSION or not isinstance(system, dict):
            raise malformed("is of an unknown version of PyTorch's format")
        if system.get("little_endian") is not True:
            raise malformed("was saved on a big-endian machine, which is not supported")
        root = read_pickle(file, names, _collect(storages))
        keys = read_pickle(file, names, _no_reference)
        offsets = _legacy_offsets(path, file, keys, storages, size)
    return PickledFile(path=path, start=FileStart.PICKLE, root=root, names=names, offsets=offsets)


def _legacy_offsets(
    path: Path, file: BinaryIO, keys: object, storages: Mapping[str, Storage], size: int
) -> dict[str, int]:
    if not isinstance(keys, list) or len(keys) > _MAX_MEMBERS or set(keys) != set(storages):
        raise malformed("does not list the data of its tensors")
    offsets = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].count:
            raise corrupt(path, f"is truncated or damaged at byte {file.tell()}")
        offsets[key] = file.tell()
        end = offsets[key] + count * DTYPE_BYTES[storages[key].dtype]
        # Seeking past the end of a file raises nothing.
        if end > size:
            raise corrupt(path, f"is truncated: {size} bytes of at least {end}")
        file.seek(end)
    return offsets


def _no_reference(identifier: object) -> Any:
    raise malformed("has a reference where there is none in PyTorch's format")


def _not_pytorch(names: Names) -> UnsafeError:
    called = f" that names {', '.join(map(str, names.named)):.100}" if names.named else ""
    return UnsafeError(
        f"is a pickle of Python objects{called}, not a PyTorch checkpoint",
        code="model.not_a_checkpoint",
        hint="only files written by torch.save have weights that can be converted",
    )
