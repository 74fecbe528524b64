"""Files of latents, read strictly: nothing in them is believed before it is checked. No torch."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.checkpoints.safetensors_header import SafetensorsHeader, TensorInfo
from sdcli.errors import CorruptError, SdcliError, UsageError
from sdcli.latents import FINAL, MODEL_OUTPUT, NOISE, X0, XT, parse_tensor_name, tensor_name
from sdcli.request import GenerationRequest
from sdcli.storage.images.codec import FORMATS, read_image_info
from sdcli.storage.latents.tensor_reader import DTYPES, corrupt, read_array, read_whole_header
from sdcli.storage.latents.writer import SCHEMA, SUFFIX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LatentsFile:
    """One image's latents on disk. `steps` counts the scheduler's steps of its whole run, 0 when
    no run made it; `record` is then what did.

    Arrays are (channels, height/8, width/8), and are read when asked for. Latents of an encoded
    picture have no request.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: str
    num_steps: int
    init_noise_sigma: float
    record: Mapping[str, Any]
    image: str | None
    tensors: Mapping[str, TensorInfo] = field(repr=False)

    @property
    def name(self) -> str:
        """What to call things made of it: the file's name without number and suffix."""
        return re.sub(r"^\d{4,}-", "", self.path.name.removesuffix(SUFFIX))

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end."""
        return FINAL in self.tensors

    @property
    def request(self) -> GenerationRequest:
        """What was asked for. Raises UsageError for latents that no run made."""
        asked = self.record.get("request")
        if not isinstance(asked, Mapping):
            raise UsageError(
                f"{self.path}: no prompt made these latents",
                code="latents.no_request",
                hint="give the latents of a run: sdcli generate … --save-latents all",
            )
        return GenerationRequest.from_dict(asked)

    def steps(self, kind: str) -> list[int]:
        """The steps of which the file has that kind; of `xt` also 0, the noise, and the last."""
        named = (parse_tensor_name(name) for name in self.tensors)
        steps = {found[1] for found in named if found and found[0] == kind}
        if kind == XT:
            steps |= {0} if NOISE in self.tensors else set()
            steps |= {self.num_steps} if self.is_complete else set()
        return sorted(steps)

    def timestep(self, step: int) -> float | None:
        """The trained time that a step was asked at, None for the noise and where it is not told"""
        timesteps = self.record.get("timesteps") or []
        return float(timesteps[step - 1]) if 0 < step <= len(timesteps) else None

    def tensor(self, kind: str, step: int) -> Array:
        """One tensor in single precision. Raises UsageError naming the steps that are there."""
        if kind == XT and step == 0 and NOISE in self.tensors:
            return self.tensor_by_name(NOISE) * self.init_noise_sigma
        if kind == XT and step == self.num_steps and self.is_complete:
            return self.tensor_by_name(FINAL)
        if (name := tensor_name(kind, step)) in self.tensors:
            return self.tensor_by_name(name)
        there = ", ".join(map(str, self.steps(kind))) or "none"
        raise UsageError(
            f"{self.path}: no {kind} of step {step}",
            code="latents.no_step",
            hint=f"it has {kind} of steps: {there}",
        )

    def final(self) -> Array:
        """The last latents. Raises UsageError when the run was interrupted."""
        if self.is_complete:
            return self.tensor_by_name(FINAL)
        last = max(self.steps(XT), default=0)
        raise UsageError(
            f"{self.path}: its run was interrupted, there are no last latents",
            code="latents.unfinished",
            hint=f"go on: sdcli latents resume {self.path} --from-step {last}",
        )

    def tensor_by_name(self, name: str) -> Array:
        """The tensor of that name, which must be there. Raises CorruptError when it is cut off."""
        return read_array(self.path, name, self.tensors[name])


def read_latents_file(path: Path | str) -> LatentsFile:
    """Read what a file of latents says of itself; its tensors stay on disk. An image means the
    file that lies beside it.

    Raises UsageError (2) when there is no such file or it is not one of ours, CorruptError (7) when
    it is cut off or contradicts itself.
    """
    given = Path(path).expanduser()
    path = _companion_of(given)
    if not path.is_file():
        raise UsageError(f"no file at {path}", code="usage.file")
    header = read_whole_header(path)
    _check_ours(path, header)
    shapes = {(t.shape, t.dtype) for t in header.tensors.values()}
    shape, dtype = shapes.pop()
    if shapes or len(shape) != 3 or 0 in shape or dtype not in DTYPES:
        raise _corrupt(path, "has tensors that are not latents of one image")
    try:
        told = header.metadata
        record = json.loads(told.get("record") or told["encoded"])
        steps = int(told["steps"]) if "record" in told else 0
        init_noise_sigma = float(told.get("init_noise_sigma", 1))
        if not isinstance(record, dict):
            raise ValueError("not an object")
    except (KeyError, ValueError, RecursionError) as error:
        raise _corrupt(path, f"has no readable record ({error})") from error
    dump = LatentsFile(
        path=path,
        shape=(shape[0], shape[1], shape[2]),
        dtype=dtype,
        num_steps=steps,
        init_noise_sigma=init_noise_sigma,
        record=record,
        image=header.metadata.get("image"),
        tensors=header.tensors,
    )
    _check_record(dump)
    if path != given and given.is_file():
        _check_pair(dump, given)
    return dump


def _check_pair(dump: LatentsFile, image: Path) -> None:
    """Raises UsageError for an image that was made anew beside the latents of an earlier one."""
    told = (read_image_info(image)["record"] or {}).get("pixels", {}).get("sha256")
    made = dump.record.get("pixels", {}).get("sha256")
    if told and made and told != made:
        raise UsageError(
            f"{dump.path}: not the latents of {image}, which was made later",
            code="latents.other",
            hint=f"name the latents to see them: {shlex.quote(str(dump.path))}",
        )


def has_latents(path: Path | str) -> bool:
    """Whether there are latents to read: the file's own, or beside the image that it is."""
    path = Path(path).expanduser()
    image = path.suffix.lower() in FORMATS
    return not image or not path.is_file() or path.with_suffix(SUFFIX).is_file()


def _companion_of(path: Path) -> Path:
    if path.suffix.lower() not in FORMATS:
        return path
    latents = path.with_suffix(SUFFIX)
    if not latents.is_file() and not path.is_file():
        raise UsageError(f"no file at {path}", code="usage.file")
    if not latents.is_file():
        raise UsageError(
            f"no latents lie beside {path}",
            code="usage.file",
            hint="sdcli generate … --save-latents all writes them",
        )
    return latents


def _check_ours(path: Path, header: SafetensorsHeader) -> None:
    schema = header.metadata.get("schema")
    if schema != SCHEMA:
        known = f"its schema is {schema!r}" if schema else "it has no schema"
        raise UsageError(
            f"{path}: not a file of latents, {known}",
            code="latents.foreign",
            hint="sdcli generate … --save-latents all writes them",
        )
    strange = [
        n for n in header.tensors if n not in (FINAL, NOISE) and parse_tensor_name(n) is None
    ]
    if strange:
        raise _corrupt(path, f"has a tensor named {strange[0]!r}")


def _check_record(dump: LatentsFile) -> None:
    """The record's request must pass the gate, and the tensors' steps be the run's."""
    if "request" in dump.record:
        try:
            _ = dump.request
        except SdcliError as error:
            raise _corrupt(dump.path, f"has a broken record: {error.message}") from error
        timesteps = dump.record.get("timesteps")
        if not isinstance(timesteps, list) or len(timesteps) != dump.num_steps:
            raise _corrupt(dump.path, "has a record of another number of steps")
    last = max((s for kind in (XT, X0, MODEL_OUTPUT) for s in dump.steps(kind)), default=0)
    if last > dump.num_steps:
        raise _corrupt(dump.path, f"has a step {last} of a run of {dump.num_steps}")


def _corrupt(path: Path, what: str) -> CorruptError:
    return corrupt(f"{path} {what}")
