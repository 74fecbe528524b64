"""What was asked, as a person, a prompt file or a record states it. None is "you choose"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from sdcli.errors import UsageError, did_you_mean

EMBEDDED: Final = "embedded"
DTYPES: Final = ("float32", "float16", "bfloat16")
VAE_TILINGS: Final = ("auto", "on", "off")
SHORT_DTYPES: Final[Mapping[str, str]] = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
}
MAX_SEED: Final = 2**63 - 1

_LONGEST_TEXT: Final = 16_384  # a PNG text chunk that holds it twice can still be read back

# What a field is called on the command line, where that differs.
_FLAGS: Final[Mapping[str, str]] = {
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "negative_prompt": "--negative",
    "width": "--size",
    "height": "--size",
    "dtype": "--dtype",
}
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "num_inference_steps": (1, 1000),
    "guidance_scale": (0, 1000),
    "guidance_rescale": (0, 1),
    "eta": (0, 1),
    "clip_skip": (0, 100),
    "width": (8, 16384),
    "height": (8, 16384),
    "seed": (0, MAX_SEED),
    "count": (1, 1_000_000),
}
_FRACTIONS: Final = frozenset({"guidance_scale", "guidance_rescale", "eta"})


@dataclass(frozen=True, kw_only=True)
class PipelineSpec:
    """What must be loaded: equal specs share one pipeline.

    `model` and `vae` are a folder, a hub id, or an alias ("embedded"; "tiny" for the model's own
    small VAE), `vae` also one file. `dtype` None lets the device decide. `force_vae` takes a VAE
    whose latents are not the model's. Raises UsageError on what cannot be meant.
    """

    model: str = EMBEDDED
    vae: str | None = None
    dtype: str | None = None
    device: str = "auto"
    variant: str | None = None
    offline: bool = False
    force_vae: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "vae", "dtype", "device", "variant"):
            _check_text(name, getattr(self, name), optional=name not in ("model", "device"))
        for name in ("offline", "force_vae"):
            if not isinstance(getattr(self, name), bool):
                raise _field_error(name, getattr(self, name), "is not true or false")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise _field_error("dtype", self.dtype, f"is not one of {', '.join(DTYPES)}")
        if not _DEVICE.fullmatch(self.device):
            raise _field_error("device", self.device, "is not auto, cpu, cuda, cuda:N or mps")


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One prompt and all that was said of its pictures; image *i* of `count` uses seed + i.

    Sizes are pixels, `clip_skip` counts skipped text encoder layers as Diffusers does (A1111's
    "Clip skip" minus one). `vae_tiling` is on, off, or auto (when memory runs out). The constructor
    is the one gate: an instance is valid, or it raises UsageError. What depends on the model (its
    size grid, its scheduler) is checked by `plan`.
    """

    prompt: str
    negative_prompt: str | None = None
    spec: PipelineSpec = field(default_factory=PipelineSpec)
    scheduler: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    guidance_rescale: float | None = None
    eta: float | None = None
    clip_skip: int | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    count: int = 1
    vae_tiling: str | None = None

    def __post_init__(self) -> None:
        _check_text("prompt", self.prompt, optional=False, empty=True)
        _check_text("negative_prompt", self.negative_prompt, optional=True, empty=True)
        _check_text("scheduler", self.scheduler, optional=True)
        if self.vae_tiling is not None and self.vae_tiling not in VAE_TILINGS:
            raise _field_error("vae_tiling", self.vae_tiling, f"is not {', '.join(VAE_TILINGS)}")
        for name in _LIMITS:
            _check_number(name, getattr(self, name), optional=name != "count")
        if self.seed is not None and self.seed + self.count - 1 > MAX_SEED:
            raise _field_error("seed", self.seed, f"leaves no room for {self.count} images")

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object, the spec's fields beside the others."""
        flat = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "spec"}
        return flat | asdict(self.spec)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GenerationRequest:
        """The inverse of `to_dict`; fields may be left out. Raises UsageError for unknown ones."""
        for name in data:
            if name not in _NAMES:
                raise UsageError(
                    f"unknown field {name!r}", code="usage.field", hint=did_you_mean(name, _NAMES)
                )
        if "prompt" not in data:
            raise UsageError("a request needs a prompt", code="usage.prompt")
        spec = PipelineSpec(**{k: v for k, v in data.items() if k in _SPEC_NAMES})
        return cls(spec=spec, **{k: v for k, v in data.items() if k not in _SPEC_NAMES})


_SPEC_NAMES: Final = frozenset(f.name for f in fields(PipelineSpec))
_NAMES: Final = frozenset(f.name for f in fields(GenerationRequest)) - {"spec"} | _SPEC_NAMES


def _check_text(name: str, value: object, *, optional: bool, empty: bool = False) -> None:
    if value is None and optional:
        return
    if not isinstance(value, str):
        raise _field_error(name, value, "is not text")
    if not value and not empty:
        raise _field_error(name, value, "is empty")
    if len(value) > _LONGEST_TEXT:
        raise _field_error(name, value[:20] + "…", f"is longer than {_LONGEST_TEXT} characters")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _field_error(name, value, "is not valid Unicode")


def _check_number(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    low, high = _LIMITS[name]
    kinds = (int, float) if name in _FRACTIONS else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise _field_error(
            name, value, "is not a number" if float in kinds else "is not a whole number"
        )
    if not math.isfinite(value) or not low <= value <= high:
        raise _field_error(name, value, f"is not between {low} and {high}")


def _field_error(name: str, value: object, why: str) -> UsageError:
    return UsageError(f"{describe_field(name)}: {value!r} {why}", code=f"usage.{name}")


def describe_field(field_name: str) -> str:
    """A field as a message names it: for Python, and for the command line beside it."""
    flag = _FLAGS.get(field_name)
    return f"{field_name} ({flag})" if flag else field_name
