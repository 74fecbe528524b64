"""Read the numbers of the tensors of a pickled checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from sdcli.checkpoints.pickles.container import PickledFile, corrupt
from sdcli.checkpoints.pickles.inert_values import DTYPE_BYTES, TensorView

_CHUNK_BYTES: Final = 8 << 20


def read_chunks(file: PickledFile, tensor: TensorView) -> Iterator[bytes]:
    """Yield the elements of a tensor in their order, in chunks of whole elements.

    Raises CorruptError if the data ends early or its checksum is wrong.
    """
    if not tensor.size:
        return
    width = DTYPE_BYTES[tensor.dtype]
    with file.open_storage(tensor.storage) as stream:
        _skip(file, stream, tensor.offset * width)
        if tensor.is_contiguous:
            yield from _read(file, stream, tensor.bytes)
        else:
            # Only a tensor with other strides has to be in memory as a whole.
            span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
            yield _in_order(b"".join(_read(file, stream, span * width)), tensor)
        # zipfile compares the checksum when the end is reached.
        _skip(file, stream, _rest(file, tensor))


def _rest(file: PickledFile, tensor: TensorView) -> int:
    """The bytes to read for the checksum; a legacy file has none."""
    return tensor.storage.count * DTYPE_BYTES[tensor.storage.dtype] if file.members else 0


def _in_order(data: bytes, tensor: TensorView) -> bytes:
    import numpy as np
    from numpy.lib.stride_tricks import as_strided

    width = DTYPE_BYTES[tensor.dtype]
    # Elements as blocks of bytes: only their places matter.
    elements = np.frombuffer(data, f"V{width}")
    strides = tuple(stride * width for stride in tensor.strides)
    return as_strided(elements, tensor.shape, strides, writeable=False).tobytes()


def _read(file: PickledFile, stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, _CHUNK_BYTES))
        if len(chunk) < min(size, _CHUNK_BYTES):
            raise corrupt(file.path, "is truncated in the data of its tensors")
        size -= len(chunk)
        yield chunk


def _skip(file: PickledFile, stream: BinaryIO, size: int) -> None:
    """Move forward, and for the members of a zip file no further than their end."""
    if not file.members:
        stream.seek(size, 1)
        return
    # A seek in a member may switch off zipfile's checksum; reading keeps it.
    while size and (chunk := stream.read(min(size, _CHUNK_BYTES))):
        size -= len(chunk)
