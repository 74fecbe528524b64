"""Tell kinds of files from their first bytes, before anything else reads them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from sdcli.checkpoints.json_files import check_regular_file
from sdcli.errors import CorruptError, SdcliError, UnsafeError

START_BYTES: Final = 512
_TAR_MAGIC: Final = slice(257, 262)


class FileStart(StrEnum):
    """Kinds of files, with the words for a message."""

    EMPTY = "empty"
    HTML = "a web page"
    LFS_POINTER = "a Git LFS pointer"
    ZIP = "a zip file"
    TAR = "a tar archive"
    GZIP = "compressed by gzip"
    SEVEN_ZIP = "a 7z archive"
    RAR = "a RAR archive"
    GGUF = "a GGUF file"
    HDF5 = "an HDF5 file"
    IMAGE = "an image"
    PICKLE = "a pickle"
    SAFETENSORS = "a safetensors file"
    JSON = "JSON text"
    UNKNOWN = "of an unknown kind"


_PREFIXES: Final = (
    (b"version https://git-lfs", FileStart.LFS_POINTER),
    (b"PK\x03\x04", FileStart.ZIP),
    (b"PK\x05\x06", FileStart.ZIP),
    (b"\x1f\x8b", FileStart.GZIP),
    (b"7z\xbc\xaf", FileStart.SEVEN_ZIP),
    (b"Rar!", FileStart.RAR),
    (b"GGUF", FileStart.GGUF),
    (b"\x89HDF", FileStart.HDF5),
    (b"\x89PNG", FileStart.IMAGE),
    (b"\xff\xd8\xff", FileStart.IMAGE),
    *((b"\x80" + bytes([protocol]), FileStart.PICKLE) for protocol in range(2, 6)),
)
# Pickles of protocol 0 and 1 have no signature; these begin a list, dictionary, tuple, name, long.
_OLD_PICKLES: Final = (b"(", b"]", b"}", b"c", b"L", b"\x8a")

HINTS: Final = {
    FileStart.EMPTY: "download the file again",
    FileStart.HTML: "the download needs a login, or its link leads to a page; get the file itself",
    FileStart.LFS_POINTER: "run `git lfs pull`",
    FileStart.GZIP: "unpack it first",
    FileStart.SEVEN_ZIP: "unpack it first",
    FileStart.RAR: "unpack it first",
    FileStart.GGUF: "use the .safetensors file of the model",
}


def read_start(path: Path) -> FileStart:
    """Return the kind of a file. Raises CorruptError for a pipe or device, and OSError."""
    check_regular_file(path)
    with path.open("rb") as file:
        head = file.read(START_BYTES)
    if kind := find_signature(head):
        return kind
    return FileStart.PICKLE if head.startswith(_OLD_PICKLES) else FileStart.UNKNOWN


def find_signature(head: bytes) -> FileStart | None:
    """Return the kind of a file by bytes that no other kind begins with, None without them."""
    if not head:
        return FileStart.EMPTY
    # The length of the header, then its JSON. It comes first: the bytes of a length may be any.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return FileStart.SAFETENSORS
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[_TAR_MAGIC] == b"ustar":
        return FileStart.TAR
    text = _text(head)
    if text.startswith((b'{"', b"{\n", b"{ ", b"{\r")):
        return FileStart.JSON
    return FileStart.HTML if text.startswith(b"<") else None


def _text(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def wrong_start_error(path: Path, start: FileStart) -> SdcliError:
    """Return the error for a file that is not weights, or not in a format that can be read."""
    if start is FileStart.TAR:
        return UnsafeError(
            f"{path} is a tar archive, as PyTorch wrote before 2017; it is not read",
            code="model.tar",
            hint="get the weights as .safetensors",
        )
    return CorruptError(
        f"{path} is {start}, not a file of weights",
        code="model.not_weights",
        hint=HINTS.get(start, "give a .safetensors or .ckpt file"),
    )
