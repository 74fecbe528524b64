"""Describe what is requested: GenerationRequest."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, Final

from sdcli.errors import UsageError, did_you_mean
from sdcli.field_metadata import FieldInfo, field_infos, field_types, own_first, setting
from sdcli.field_validation import (
    check_choice,
    check_number,
    check_text,
    is_plain_text,
    label_of,
    value_error,
)
from sdcli.fields.addons import AddonRequestFields
from sdcli.fields.execution import ExecutionFields, check_device
from sdcli.fields.hires import HiresRequestFields
from sdcli.fields.image import ImageRequestFields
from sdcli.fields.prompt import PromptSettings
from sdcli.fields.xl import XlSettings
from sdcli.pipeline_spec import PipelineSpec
from sdcli.row import NO_ROW, Row
from sdcli.settings_key import SettingsKey

VAE_TILINGS: Final = ("auto", "on", "off")
PROMPT_FIELDS: Final = ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2")
MAX_SEED: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class GenerationRequest(
    XlSettings,
    HiresRequestFields,
    ImageRequestFields,
    AddonRequestFields,
    PromptSettings,
    ExecutionFields,
):
    """One prompt and the settings of its images. None leaves a setting to the model.

    Image *i* of `count` uses seed + i. Sizes are pixels. `clip_skip` counts skipped text encoder
    layers as Diffusers does (A1111's "Clip skip" minus one). `vae_tiling` is on, off, or auto (when
    memory runs out). Raises UsageError for invalid values; what depends on the model, such as the
    multiple that sizes must have, is checked by `sdcli.planning`.
    """

    prompt: str
    negative_prompt: str | None = setting(
        None,
        "--negative",
        "-n",
        metavar="TEXT",
        help="What the image should not show.",
        resolved="",
        needs_guidance=True,
    )
    spec: PipelineSpec = field(default_factory=PipelineSpec)
    scheduler: str | None = setting(
        None,
        "--scheduler",
        "-s",
        metavar="NAME",
        help="Any name from A1111, ComfyUI, InvokeAI or Diffusers, with its schedule: "
        "'DPM++ 2M Karras', dpmpp_2m_k, EulerDiscreteScheduler. Options follow the name: "
        "'euler;timestep_spacing=trailing'.",
        aliases=("sampler", "sampler_name"),
        sweep=50,
    )
    num_inference_steps: int | None = setting(
        None,
        "--steps",
        metavar="N",
        help="Denoising steps.",
        minimum=1,
        maximum=1000,
        sweep=100,
        a1111="Steps",
        from_model="num_inference_steps",
    )
    guidance_scale: float | None = setting(
        None,
        "--guidance",
        "-g",
        metavar="N",
        help="Guidance (CFG) scale: how closely to follow the prompt. "
        "1 or less turns guidance off.",
        minimum=0,
        maximum=1000,
        aliases=("cfg", "cfg_scale", "scale"),
        sweep=110,
        a1111="CFG scale",
        from_model="guidance_scale",
    )
    guidance_rescale: float | None = setting(
        None,
        "--guidance-rescale",
        metavar="N",
        help="0 to 1: reduce the contrast that a high guidance scale adds.",
        minimum=0,
        maximum=1,
        sweep=120,
        a1111="CFG Rescale phi",
        resolved=0.0,
        needs_guidance=True,
    )
    guidance_from: float | None = setting(
        None,
        "--guidance-from",
        metavar="F",
        help="0 to 1: the fraction of the run at which guidance starts. Before it, the unguided "
        "prediction is used, which takes half the time.",
        minimum=0,
        maximum=1,
        sweep=130,
        a1111="Guidance from",
        resolved=0.0,
        needs_guidance=True,
    )
    guidance_to: float | None = setting(
        None,
        "--guidance-to",
        metavar="F",
        help="0 to 1: the fraction of the run at which guidance ends.",
        minimum=0,
        maximum=1,
        sweep=140,
        a1111="Guidance to",
        resolved=1.0,
        needs_guidance=True,
    )
    eta: float | None = setting(
        None,
        "--eta",
        metavar="N",
        help="0 to 1: noise that DDIM or TCD adds at every step.",
        minimum=0,
        maximum=1,
        sweep=150,
        a1111="Eta DDIM",
        resolved=0.0,
    )
    clip_skip: int | None = setting(
        None,
        "--clip-skip",
        metavar="N",
        help="How many of the text encoder's last layers to skip (A1111's number minus 1).",
        minimum=0,
        maximum=100,
        sweep=90,
        a1111="Clip skip",
    )
    width: int | None = setting(
        None,
        "--size",
        help="Width in pixels.",
        minimum=8,
        maximum=16384,
        sweep=70,
        from_model="width",
    )
    height: int | None = setting(
        None,
        "--size",
        help="Height in pixels.",
        minimum=8,
        maximum=16384,
        sweep=80,
        from_model="height",
    )
    seed: int | None = setting(
        None,
        "--seed",
        metavar="N",
        help="Image i of a prompt uses SEED + i. Default: random.",
        minimum=0,
        maximum=MAX_SEED,
        sweep=200,
        a1111="Seed",
    )
    count: int = setting(
        1,
        "--count",
        metavar="N",
        help="Images per prompt.",
        minimum=1,
        maximum=1_000_000,
        aliases=("n_iter",),
    )
    vae_tiling: str | None = setting(
        None,
        "--vae-tiling",
        help="Decode in tiles: auto does so when memory runs out.",
        choices=VAE_TILINGS,
        sweep=6,
        resolved="auto",
    )
    name: str | None = setting(
        None,
        "--name",
        help="Name of the image file in the output folder, without a suffix.",
        in_files_only=True,
    )
    row: Row = field(default=NO_ROW, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_text("scheduler", self.scheduler, optional=True)
        self.check_xl_values()
        self.check_prompt_syntax()
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name, info in _NUMBERS.items():
            label, is_fraction = describe_field(name), FIELD_TYPES[name] == "float"
            value, optional = getattr(self, name), name != "count"
            check_number(label, value, info, is_fraction=is_fraction, optional=optional)
        self.check_image_fields()
        self.check_addon_fields()
        self.check_hires_fields()
        check_device(self.offload, self.vram, self.spec.device)
        self.check_own_values()

    def check_own_values(self) -> None:
        """Check the values that differ most between images. Raises UsageError."""
        for name in PROMPT_FIELDS:
            # A look at most texts, before all that it takes to tell an error.
            if not is_plain_text(text := getattr(self, name)):
                check_text(describe_field(name), text, optional=name != "prompt", empty=True)
        check_text("name", self.name, optional=True)
        check_number("seed", self.seed, _NUMBERS["seed"], is_fraction=False, optional=True)
        if self.seed is not None and self.seed + self.count - 1 > MAX_SEED:
            raise value_error("seed", self.seed, f"leaves no room for {self.count} images")

    @cached_property
    def settings(self) -> Hashable:
        """All but the count and what differs most between images, with their types.

        Guidance 3 and 3.0 are equal, but jobs with them have different ids.
        """
        values = _SETTINGS(self)
        return SettingsKey((values, tuple(map(type, values))))

    def to_dict(self) -> dict[str, Any]:
        """Return one flat JSON object, with the spec's fields among the others."""
        flat = {f.name: getattr(self, f.name) for f in _FIELDS if f.name in _NAMES}
        return flat | asdict(self.spec)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GenerationRequest:
        """Build a request from the output of `to_dict`; fields may be left out.

        Raises UsageError for unknown fields and invalid values.
        """
        for name in data:
            if name not in _NAMES:
                hint = did_you_mean(name, _NAMES)
                raise UsageError(f"unknown field {name!r}", code="usage.field", hint=hint)
        if "prompt" not in data:
            raise UsageError("a request needs a prompt", code="usage.prompt")
        spec = PipelineSpec(**{k: v for k, v in data.items() if k in _SPEC_NAMES})
        return cls(spec=spec, **{k: v for k, v in data.items() if k not in _SPEC_NAMES})


REQUEST_FIELDS: Final = field_infos(PipelineSpec, GenerationRequest)
"""Every field of a request but the prompt, by name, those of its PipelineSpec first."""

FIELD_TYPES: Final = field_types(PipelineSpec, GenerationRequest)
"""The type of every field as a word: "str", "int", "float" or "bool"."""

SIZE_INFO: Final = FieldInfo(flags=("--size",), metavar="WxH", help="Pixels: 512x768.", sweep=60)
"""The width and height of a request in one word; not a field of its own."""

OWN_VALUES: Final = ("prompt", "negative_prompt", "seed", "name")
"""The fields that differ most from request to request."""

_FIELDS: Final = own_first(GenerationRequest)
_SETTINGS: Final = attrgetter(
    *(f.name for f in _FIELDS if f.name not in (*OWN_VALUES, "count", "row"))
)
_NUMBERS: Final = {n: info for n, info in REQUEST_FIELDS.items() if info.minimum is not None}
_CHOICES: Final = {n: i.choices for n, i in field_infos(GenerationRequest).items() if i.choices}
_SPEC_NAMES: Final = frozenset(f.name for f in fields(PipelineSpec))
_NOT_IN_DICT: Final = frozenset({"spec", "row"})
_NAMES: Final = frozenset(f.name for f in fields(GenerationRequest)) - _NOT_IN_DICT | _SPEC_NAMES


@cache
def describe_field(field_name: str) -> str:
    """Return a field's name for messages, with its flag where the two differ."""
    return label_of(field_name, REQUEST_FIELDS)
