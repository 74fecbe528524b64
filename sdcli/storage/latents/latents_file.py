"""Model of a file of latents: its header, its metadata, and its tensors on demand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sdcli.catalog.schedulers.class_options import VARIANCE_EXPLODING
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, TensorInfo, read_header
from sdcli.errors import CorruptError, UsageError, did_you_mean, quoted
from sdcli.fields.prompt import with_recorded_syntax
from sdcli.latents import FINAL, NOISE, XT, parse_tensor_name, tensor_name
from sdcli.numerics.float_names import FLOATS
from sdcli.request import GenerationRequest
from sdcli.storage.latents.record_types import wrong_key
from sdcli.storage.latents.writer import SUFFIX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

T = TypeVar("T", int, float)

_MAX_NUMBER: Final = 1_000_000
"""More than the steps of any run, and than the standard deviation of any scheduler's noise."""
_SPEC_FIELDS: Final = (
    "model", "vae", "dtype", "variant", "force_vae", "model_config", "prediction_type",
    "backend",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentsFile:
    """A file of latents of a run, of an encoded image, or of another tool.

    `record` is the record of the run, as far as the run went, and `encoded` the facts about an
    encoded image; at most one of them has entries. `metadata` are the file's own strings. Tensors
    stay on disk until they are read: those of a run are (channels, height/8, width/8) each.
    """

    path: Path
    tensors: Mapping[str, TensorInfo] = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)
    record: Mapping[str, Any] = field(repr=False)
    encoded: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The file name without its number and suffix, to name derived files after."""
        return re.sub(r"^\d{4,}-", "", self.path.name.removesuffix(SUFFIX))

    @property
    def image(self) -> str | None:
        """The name of the image that was decoded from the latents, or encoded to them."""
        return self.metadata.get("image")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of every tensor of a run: (channels, height/8, width/8)."""
        channels, height, width = next(iter(self.tensors.values())).shape
        return channels, height, width

    @property
    def dtype(self) -> str:
        """The tensors' dtype as safetensors names it, such as "F16"."""
        return next(iter(self.tensors.values())).dtype

    @property
    def num_steps(self) -> int:
        """Scheduler steps of the whole run; 0 for latents of no run. Raises CorruptError."""
        return self._number("steps", int) if "record" in self.metadata else 0

    @property
    def init_noise_sigma(self) -> float:
        """The factor between the tensor `noise` and x_t of step 0. Raises CorruptError."""
        key = "init_noise_sigma"
        return self._number(key, float) if key in self.metadata else 1.0

    @property
    def is_complete(self) -> bool:
        """Whether the run reached its last step."""
        return FINAL in self.tensors

    @property
    def origin(self) -> Mapping[str, Any]:
        """The record of the run, or the facts about the encoded image; empty with neither."""
        return self.record or self.encoded

    @property
    def request(self) -> GenerationRequest:
        """The request of the run. Raises UsageError for latents of no run."""
        request = self.record.get("request")
        if not isinstance(request, Mapping):
            raise UsageError(
                f"{self.path}: these latents were not generated from a prompt",
                code="latents.no_request",
                hint="use the latents of a run: sdcli generate … --save-latents all",
            )
        try:
            return GenerationRequest.from_dict(with_recorded_syntax(request))
        except UsageError as error:
            raise corrupt_error(self.path, f"has an invalid request ({error.message})") from error

    @property
    def spec_fields(self) -> dict[str, Any]:
        """Fields of the PipelineSpec that the latents were made with, as far as recorded."""
        if self.record.get("request"):
            spec = vars(self.request.spec)
            return {name: spec[name] for name in _SPEC_FIELDS if spec[name]}
        return {name: self.encoded[name] for name in _SPEC_FIELDS if self.encoded.get(name)}

    def steps(self, kind: str) -> list[int]:
        """Steps that have a tensor of the kind. `xt` counts the noise as 0 and `final` as last."""
        names = (parse_tensor_name(name) for name in self.tensors)
        steps = {name[1] for name in names if name and name[0] == kind}
        if kind == XT:
            steps |= {0} if NOISE in self.tensors else set()
            steps |= {self.num_steps} if self.is_complete else set()
        return sorted(steps)

    def timestep(self, step: int) -> float | None:
        """The timestep of a step, None for the noise and where none is recorded."""
        timesteps = self.record.get("timesteps") or []
        return float(timesteps[step - 1]) if 0 < step <= len(timesteps) else None

    def tensor(self, kind: str, step: int) -> Array:
        """Read one tensor in single precision. Raises UsageError with the steps that exist."""
        if kind == XT and step == 0 and NOISE in self.tensors:
            # The file keeps the noise of variance 1, as the generator drew it.
            return self.tensor_by_name(NOISE) * self.init_noise_sigma
        if kind == XT and step == self.num_steps and self.is_complete:
            return self.tensor_by_name(FINAL)
        if (name := tensor_name(kind, step)) in self.tensors:
            return self.tensor_by_name(name)
        steps = ", ".join(map(str, self.steps(kind))) or "none"
        raise UsageError(
            f"{self.path}: no {kind} of step {step}",
            code="latents.no_step",
            hint=f"it has {kind} of steps: {steps}",
        )

    def unit_variance(self, kind: str, step: int) -> Array:
        """Read one tensor, scaling x_t of schedulers that work with sigmas to variance 1.

        Such a scheduler's x_t is x_0 + sigma * noise; dividing by sqrt(1 + sigma²) gives the scale
        of schedulers that work with alphas, which VAEs and the linear approximation expect.
        """
        latents, sigmas = self.tensor(kind, step), self.record.get("sigmas")
        if kind != XT or not self._has_sigma_scale:
            return latents
        # Only a run from an image begins with noise that is not of variance 1 in the file.
        if step == 0 and NOISE in self.tensors and not self.record.get("request", {}).get("image"):
            return self.tensor_by_name(NOISE)
        if not sigmas or step >= len(sigmas):
            return latents
        scaled: Array = latents / (1 + sigmas[step] ** 2) ** 0.5
        return scaled

    @property
    def _has_sigma_scale(self) -> bool:
        # A run from an image has a factor of 1, whatever its scheduler.
        name = self.record.get("scheduler", {}).get("class")
        return self.init_noise_sigma > 1 or name in VARIANCE_EXPLODING

    def final(self) -> Array:
        """Read the last latents. Raises UsageError when the run was interrupted."""
        if self.is_complete:
            return self.tensor_by_name(FINAL)
        last = max(self.steps(XT), default=0)
        raise UsageError(
            f"{self.path}: the run was interrupted, so there are no final latents",
            code="latents.unfinished",
            hint=f"resume it: sdcli latents resume {self.path} --from-step {last}",
        )

    def images(self, name: str) -> Array:
        """Read a tensor that `select_tensor` returned, as (images, channels, height, width)."""
        array = self.tensor_by_name(name)
        return array if array.ndim == 4 else array[None]

    def tensor_by_name(self, name: str) -> Array:
        """Read an existing tensor in single precision.

        Raises CorruptError when the file is cut off, or when a value is not finite.
        """
        import numpy as np

        from sdcli.numerics.float_formats import to_float32

        info = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(info.begin)
            data = file.read(info.end - info.begin)
        if len(data) != info.end - info.begin:
            raise corrupt_error(self.path, f"is cut off in {name}")
        array = to_float32(np.frombuffer(data, FLOATS[info.dtype]), info.dtype)
        if not np.isfinite(array).all():
            raise corrupt_error(self.path, f"has values in {name} that are not finite")
        return array.reshape(info.shape)

    def select_tensor(self, name: str | None = None) -> str:
        """Return the name of a tensor of latents: `name`, else `final`, else the only one.

        Raises UsageError when there is no such tensor, or when it cannot be latents.
        """
        names = list(self.tensors)
        if name is not None and name not in names:
            raise UsageError(
                f"{self.path} has no tensor {quoted(name)}",
                code="usage.tensor",
                hint=did_you_mean(name, names) or f"it has: {', '.join(sorted(names)[:8])}",
            )
        if name is None and FINAL not in names and len(names) > 1:
            raise UsageError(
                f"{self.path} holds {len(names)} tensors and none is {FINAL!r}: not a latents file",
                code="usage.latents",
                hint="choose one of them with --tensor",
            )
        selected = name or (FINAL if FINAL in names else names[0])
        self._check_layout(selected)
        return selected

    def _check_layout(self, name: str) -> None:
        info = self.tensors[name]
        if len(info.shape) not in (3, 4) or 0 in info.shape or info.dtype not in FLOATS:
            raise UsageError(
                f"{self.path}: {name} is {info.dtype} {list(info.shape)}, "
                "not latents (channels, height, width)",
                code="usage.latents",
                hint="latents files come from --save-latents and from sdcli vae encode",
            )

    def _number(self, key: str, convert: Callable[[str], T]) -> T:
        try:
            number = convert(self.metadata[key])
            if 0 <= number <= _MAX_NUMBER:
                return number
            raise ValueError(key)
        except (KeyError, ValueError) as error:
            raise corrupt_error(self.path, f"has no readable {key} in its metadata") from error


def parse_latents_file(path: Path, header: SafetensorsHeader) -> LatentsFile:
    """Build the model of a file from its header. Raises CorruptError for unreadable metadata."""
    return LatentsFile(
        path=path,
        tensors=header.tensors,
        metadata=header.metadata,
        record=_metadata_object(path, header, "record"),
        encoded=_metadata_object(path, header, "encoded"),
    )


def read_latents_header(path: Path) -> SafetensorsHeader:
    """Read the header of a file and check that the file is as long as it says.

    Raises CorruptError with the code of latents, not with that of model files.
    """
    try:
        return read_header(path)
    except CorruptError as error:
        raise CorruptError(error.message, code=_CORRUPT, hint=_CORRUPT_HINT) from error


def _metadata_object(path: Path, header: SafetensorsHeader, key: str) -> dict[str, Any]:
    """The JSON object under a key of the metadata, empty when there is no such key."""
    if key not in header.metadata:
        return {}
    try:
        value = json.loads(header.metadata[key])
    except (ValueError, RecursionError) as error:
        raise corrupt_error(path, f"has a {key} that is not JSON") from error
    if not isinstance(value, dict):
        raise corrupt_error(path, f"has a {key} with an unknown layout")
    if wrong := wrong_key(key, value):
        raise corrupt_error(path, f"has a {key} with an unknown layout: {wrong!r}")
    return value


_CORRUPT: Final = "latents.corrupt"
_CORRUPT_HINT: Final = "the file may be damaged; recreate or copy it again"


def corrupt_error(path: Path, problem: str) -> CorruptError:
    """Build the error for a file of latents that cannot be read or contradicts itself."""
    return CorruptError(f"{path} {problem}", code=_CORRUPT, hint=_CORRUPT_HINT)
