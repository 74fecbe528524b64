"""Latents files read back: one tensor, with what the file says of its making. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.checkpoints.safetensors_header import SafetensorsHeader, TensorInfo, read_header
from sdcli.errors import CorruptError, UsageError, did_you_mean
from sdcli.latents import FINAL
from sdcli.storage.images.codec import FORMATS
from sdcli.storage.latents.writer import SUFFIX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DTYPES: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentsTensor:
    """Latents (images, channels, height, width) of one tensor of a file, as the UNet has them.

    `record` is the record of the run that they are of, `encoded` tells of the picture that they
    were encoded from; a file of another tool has neither.
    """

    path: Path
    tensor: str
    array: NDArray[np.float32]
    record: Mapping[str, Any] | None = None
    encoded: Mapping[str, Any] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """The fields of the PipelineSpec that the latents were made with, as far as known."""
        told = (self.record or {}).get("request") or self.encoded or {}
        names = ("model", "vae", "dtype", "variant", "force_vae")
        return {name: told[name] for name in names if told.get(name)}


def read_latents_tensor(path: Path, tensor: str | None = None) -> LatentsTensor:
    """The named tensor of a latents file, by default the last latents or the only tensor there is.

    An image means the file that lies beside it.

    Raises UsageError (2) for no file, no such tensor, or tensors that are no latents; CorruptError
    (7) for a file that is truncated, or whose metadata cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"no file at {path}", code="usage.file")
    if path.suffix.lower() in FORMATS and (beside := path.with_suffix(SUFFIX)).is_file():
        path = beside
    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path}: latents are .safetensors files",
            code="usage.latents",
            hint="sdcli vae encode makes them of images",
        )
    header = read_whole_header(path)
    name = _name(path, header, tensor)
    array = read_array(path, name, header.tensors[name])
    return LatentsTensor(
        path=path,
        tensor=name,
        array=array if array.ndim == 4 else array[None],
        record=_json(path, header, "record"),
        encoded=_json(path, header, "encoded"),
    )


def is_latents(path: Path) -> bool:
    """Whether a path names latents rather than an image."""
    return path.suffix == ".safetensors"


def read_whole_header(path: Path) -> SafetensorsHeader:
    """The header of a file that is as long as it says. Raises CorruptError."""
    try:
        return read_header(path)
    except CorruptError as error:
        raise corrupt(error.message) from error


def _name(path: Path, header: SafetensorsHeader, asked: str | None) -> str:
    names = list(header.tensors)
    if asked is not None and asked not in names:
        raise UsageError(
            f"{path} has no tensor {asked!r}",
            code="usage.tensor",
            hint=did_you_mean(asked, names) or f"it has: {', '.join(sorted(names)[:8])}",
        )
    name = asked or (FINAL if FINAL in names else names[0])
    if asked is None and name != FINAL and len(names) > 1:
        raise UsageError(
            f"{path} holds {len(names)} tensors and none is {FINAL!r}: not a latents file",
            code="usage.latents",
            hint="name one of them with --tensor",
        )
    shape, dtype = header.tensors[name].shape, header.tensors[name].dtype
    if len(shape) not in (3, 4) or 0 in shape or dtype not in DTYPES:
        raise UsageError(
            f"{path}: {name} is {dtype} {list(shape)}, not latents (channels, height, width)",
            code="usage.latents",
            hint="latents files come from --save-latents and from sdcli vae encode",
        )
    return name


def read_array(path: Path, name: str, info: TensorInfo) -> NDArray[np.float32]:
    """The tensor in single precision, of its shape. Raises CorruptError."""
    import numpy as np

    with path.open("rb") as file:
        file.seek(info.begin)
        data = file.read(info.end - info.begin)
    if len(data) != info.end - info.begin:
        raise corrupt(f"{path} is cut off in {name}")
    raw = np.frombuffer(data, np.dtype(DTYPES[info.dtype]))
    if info.dtype == "BF16":  # the upper half of a float32
        raw = (raw.astype("<u4") << 16).view("<f4")
    if not np.isfinite(raw).all():
        raise corrupt(f"{path}: {name} is not finite")
    return raw.astype(np.float32).reshape(info.shape)


def _json(path: Path, header: SafetensorsHeader, key: str) -> dict[str, Any] | None:
    if key not in header.metadata:
        return None
    try:
        data = json.loads(header.metadata[key])
    except (ValueError, RecursionError) as error:
        raise corrupt(f"{path}: its {key} is not JSON ({error})") from error
    if not isinstance(data, dict) or not isinstance(data.get("request", {}), dict):
        raise corrupt(f"{path}: its {key} cannot be read")
    return data


def corrupt(message: str) -> CorruptError:
    """The error of a file of latents that cannot be read."""
    return CorruptError(message, code="latents.corrupt", hint="make or copy the file again")
