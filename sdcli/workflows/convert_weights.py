"""Convert a pickled checkpoint to safetensors, without running anything from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sdcli.checkpoints.safetensors_header import read_header
from sdcli.checkpoints.weight_source import SourceTensor, dangerous_names_error, read_weights
from sdcli.errors import UsageError
from sdcli.inputs.regular_file import check_regular
from sdcli.numerics.float_formats import convert_floats
from sdcli.numerics.float_names import FLOATS
from sdcli.storage.weights_file import NewTensor, check_target, write_weights

_SAFETENSORS_DTYPES: Final = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_BITS: Final = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A converted file. `overflowed` counts numbers that became infinite in the smaller dtype."""

    path: Path
    tensors: int
    bytes: int
    dropped: Mapping[str, str]
    other_globals: tuple[str, ...]
    overflowed: Mapping[str, int]


def convert_weights(source: Path, target: Path, *, dtype: str | None, force: bool) -> Conversion:
    """Write the tensors of `source` to the safetensors file `target`, under the same names.

    With a `dtype`, floating-point tensors are converted to it. Raises UnsafeError for a pickle that
    calls what no checkpoint needs, CorruptError, UsageError and OutputError.
    """
    _check_paths(source, target)
    weights = read_weights(source)
    if weights.names and (error := dangerous_names_error(source, weights.names)):
        raise error
    overflowed: dict[str, int] = {}
    tensors = {
        name: _new_tensor(name, tensor, dtype, overflowed)
        for name, tensor in sorted(weights.tensors.items())
    }
    check_target(target, sum(tensor.byte_count for tensor in tensors.values()), force=force)
    # Transformers loads no file that does not name the library it is for.
    write_weights(target, tensors, {"format": "pt", **weights.metadata}, force=force)
    # A target that cannot be read back must come to light now, not at its first use.
    read_header(target)
    return Conversion(
        path=target,
        tensors=len(tensors),
        bytes=target.stat().st_size,
        dropped=weights.dropped,
        other_globals=weights.names.other if weights.names else (),
        overflowed=overflowed,
    )


def _check_paths(source: Path, target: Path) -> None:
    check_regular(source)
    if target.suffix.lower() != ".safetensors":
        raise UsageError(f"{target}: the new file must end in .safetensors", code="usage.out")
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target} is the file to convert", code="usage.out")


def _new_tensor(
    name: str, tensor: SourceTensor, dtype: str | None, overflowed: dict[str, int]
) -> NewTensor:
    wanted = _SAFETENSORS_DTYPES[dtype] if dtype and tensor.dtype in FLOATS else tensor.dtype
    same = NewTensor(
        dtype=wanted, shape=tensor.shape, byte_count=tensor.byte_count, chunks=tensor.chunks
    )
    if wanted == tensor.dtype:
        return same

    def chunks() -> Iterator[bytes]:
        for chunk in tensor.chunks():
            data, infinite = convert_floats(chunk, tensor.dtype, wanted)
            if infinite:
                overflowed[name] = overflowed.get(name, 0) + infinite
            yield data

    size = tensor.byte_count * _BITS[wanted] // _BITS[tensor.dtype]
    return replace(same, byte_count=size, chunks=chunks)
