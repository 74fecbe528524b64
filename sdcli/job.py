"""Define a job: one image to be made, with every choice already taken."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, Literal

from sdcli.catalog.schedulers.resolve import SchedulerConfig as SchedulerConfig
from sdcli.fields.addons import ADD_ON_OF, AddonJobFields
from sdcli.fields.draft import DRAFT
from sdcli.fields.execution import EXECUTION_FIELDS, ExecutionJobFields
from sdcli.fields.hires import HIRES_FIELDS, HiresJobFields, hires_size
from sdcli.fields.image import IMAGE_FIELDS, INPUT_FIELDS, ImageJobFields, steps_run
from sdcli.fields.prompt import A1111, COMPEL, PLAIN
from sdcli.job_id import IdParts, hash_text, split_text
from sdcli.pipeline_spec import TORCH, PipelineSpec, model_name
from sdcli.request import REQUEST_FIELDS, GenerationRequest
from sdcli.row import NO_ROW, Row
from sdcli.settings_key import SettingsKey

TimingKey = tuple[object, ...]
"""The settings that decide how long an image takes on one machine."""

Rerun = Literal["failed", "all"]
"""Which finished jobs of a folder to run again: those that failed, or all."""


@dataclass(frozen=True, kw_only=True)
class Job(
    HiresJobFields,
    ImageJobFields,
    AddonJobFields,
    ExecutionJobFields,
):
    """One image to be made, with every choice already taken. `index` counts from 0 over the run.

    `empty_negative` tells that an empty negative prompt was given, to a model for which that
    differs from none. `scheduler_label` is the scheduler's display name and resolves to it again.
    `reads_syntax` tells that the prompts have syntax, or do not fit into 77 tokens, and that both
    are to be read: without it, all of a prompt is words. `fingerprint` identifies the files of the
    models and the VAE, and is "" when they were not looked up. With a guidance schedule,
    `guidance_scale` is the largest of its scales. `occurrence` counts equal jobs of
    one run from 0.
    """

    index: int
    prompt: str
    negative_prompt: str
    spec: PipelineSpec
    scheduler: SchedulerConfig
    scheduler_label: str
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float
    eta: float
    clip_skip: int | None
    width: int
    height: int
    seed: int
    vae_tiling: str = "auto"
    guidance_from: float = 0.0
    guidance_to: float = 1.0
    prompt_2: str | None = None
    negative_prompt_2: str | None = None
    empty_negative: bool = False
    original_size: str | None = None
    crop: str | None = None
    target_size: str | None = None
    refiner_at: float | None = None
    aesthetic_score: float | None = None
    prompt_syntax: str = PLAIN
    reads_syntax: bool = False
    fingerprint: str = ""
    occurrence: int = 0
    name: str | None = None
    row: Row = field(default=NO_ROW, compare=False, repr=False)

    def to_request(self, *, dtype: str) -> GenerationRequest:
        """The request for this image alone, with nothing left to choose."""
        values = {name: getattr(self, name) for name in JOB_SETTINGS if self.has_effect(name)}
        negative = self.negative_prompt or ("" if self.empty_negative else None)
        return GenerationRequest(
            prompt=self.prompt,
            spec=replace(self.spec, dtype=dtype),
            scheduler=self.scheduler_label,
            row=self.row,
            **{**values, "negative_prompt": negative},
        )

    def has_effect(self, name: str) -> bool:
        """Whether a field of an input image, an add-on or a second pass has an effect."""
        # A job has the options that a draft chose.
        if name in EXECUTION_FIELDS or name == DRAFT:
            return False
        if name in HIRES_FIELDS:
            return self.hires is not None
        if name in ADD_ON_OF:
            return getattr(self, ADD_ON_OF[name]) is not None
        if name not in IMAGE_FIELDS:
            return True
        needed = IMAGE_FIELDS[name].needs
        if self.control_image is not None and "control_image" in needed:
            return True
        return self.image is not None and (not needed or any(map(self._is_set, needed)))

    def _is_set(self, name: str) -> bool:
        return bool(getattr(self, name) != IMAGE_FIELDS[name].resolved)

    @property
    def guidance_text(self) -> str:
        """The guidance scale for people, or its schedule."""
        return self.guidance_schedule or f"{self.guidance_scale:g}"

    @property
    def denoising_steps(self) -> int:
        """The steps that run: fewer than those asked for if the job starts from an image."""
        steps = self.num_inference_steps
        return steps if self.image is None else steps_run(steps, self.strength)

    @property
    def final_size(self) -> tuple[int, int]:
        """The width and height of the last pass."""
        if self.hires is None:
            return self.width, self.height
        return hires_size(self.hires, self.width, self.height)

    def second_pass(self) -> Job | None:
        """The run that redraws the enlarged image, None without one: a run from an image."""
        if self.hires is None:
            return None
        width, height = self.final_size
        return replace(
            self,
            image=_FIRST_PASS,
            image_sha256="",
            width=width,
            height=height,
            strength=self.hires_strength,
            num_inference_steps=self.hires_steps or self.num_inference_steps,
            hires=None,
        )

    def for_image(
        self, request: GenerationRequest, *, index: int, seed: int, reads_syntax: bool
    ) -> Job:
        """Return a copy for an image of a request with the same settings; faster than `replace`."""
        copy = object.__new__(Job)
        # With the cached properties of this job, of which only the id is not that of the copy.
        copy.__dict__.update(
            self.__dict__,
            index=index,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt or "",
            seed=seed,
            reads_syntax=reads_syntax,
            name=request.name,
            row=request.row,
        )
        copy.__dict__.pop("id", None)
        return copy

    def prepare_copies(self) -> None:
        """Compute once what all copies for images share."""
        _ = self.batch_key, self.timing_key, self._id_parts

    @cached_property
    def id(self) -> str:
        """32 hex digits of everything that decides the pixels.

        An edited job has another id, a moved one the same. Models count by their files where
        `fingerprint` is known, never by path. `dtype` counts as requested and the device does not
        count, so that a run can be resumed on another machine.
        """
        return hash_text(
            self._id_parts,
            self.negative_prompt,
            self.prompt,
            self.seed,
            reads_syntax=COMPEL if self.read_as == COMPEL else self.reads_syntax,
        )

    @property
    def read_as(self) -> str:
        """The syntax in which the prompts are encoded: plain if reading makes no difference."""
        if not self.reads_syntax:
            return PLAIN
        return COMPEL if self.prompt_syntax == COMPEL else A1111

    @cached_property
    def _id_parts(self) -> IdParts:
        return split_text(self._id_facts())

    def _id_facts(self) -> dict[str, Any]:
        # Journals and records of version 0.1.0 hold these digits: the text must stay the same, so a
        # field that came later is left out at its default.
        facts = {
            f.name: value
            for f in fields(self)
            if f.name not in _NOT_IN_ID
            and ((value := getattr(self, f.name)) != f.default or f.name in _FIRST_DEFAULTS)
        }
        facts["scheduler"] = [self.scheduler.class_name, self.scheduler.config]
        facts["dtype"] = self.spec.dtype
        if self.spec.backend != TORCH:
            facts["backend"] = self.spec.backend
        if self.spec.weights_dtype:
            facts["weights_dtype"] = self.spec.weights_dtype
        if not self.fingerprint:
            spec = self.spec
            facts["files"] = [spec.model, spec.vae, spec.variant]
            later = ((name, getattr(spec, name)) for name in _LATER_FILES)
            facts["files"] += [f"{name}={value}" for name, value in later if value]
        return facts

    @cached_property
    def batch_key(self) -> Hashable:
        """Jobs with equal keys can be denoised in one batch."""
        return SettingsKey(_BATCH_VALUES(self))

    @cached_property
    def timing_key(self) -> TimingKey:
        """The model, size, scheduler, steps, and whether the UNet runs twice a step (guidance)."""
        key: TimingKey = (
            model_name(self.spec.model),
            self.width,
            self.height,
            self.scheduler_label,
            self.denoising_steps,
            self.guidance_scale > 1,
        )
        backend = "" if self.spec.backend == TORCH else self.spec.backend
        added = self.controlnet_sha256, self.ip_adapter_sha256
        every = self.guidance_every > 1 and f"guidance every {self.guidance_every}"
        more = *added, self.feature_cache - 1, self.pag_scale and "pag", every, backend
        key = (*key, *filter(None, more))
        second = self.second_pass()
        if second is None:
            return key
        return (*key, second.width, second.height, second.denoising_steps, self.hires_upscaler)

    def field_values(self) -> dict[str, Any]:
        """The fields by name, in their order."""
        # Not vars(): once `id` was computed, its value is an attribute there, too.
        return {name: getattr(self, name) for name in _FIELD_NAMES}


_FIRST_PASS: Final = "the first pass"
"""Stands for the name of the image that a second pass starts from, which is no file."""

_FIELD_NAMES: Final = tuple(f.name for f in fields(Job))

_NOT_IN_ID: Final = frozenset(
    {
        "index",
        "occurrence",
        "scheduler_label",
        "spec",
        "name",
        "row",
        "lora",
        "embedding",
        "controlnet",
        "control_image",
        "ip_adapter",
        "ip_image",
        "ip_encoder",
        "prompt_syntax",  # reads_syntax tells whether it matters
        *INPUT_FIELDS,
        *EXECUTION_FIELDS,
    }
)
"""Fields that do not decide the pixels, or (the spec, paths) not as they are written."""

_LATER_FILES: Final = (
    "refiner", "model_config", "prediction_type", "text_encoder", "refiner_config",
)  # fmt: skip
"""Fields of a spec that name files, or how to read them, and that version 0.1.0 did not have."""

_FIRST_DEFAULTS: Final = frozenset({"vae_tiling", "fingerprint"})
"""Fields with a default that version 0.1.0 had."""

JOB_SETTINGS: Final = tuple(
    f.name for f in fields(Job) if f.name in REQUEST_FIELDS and f.name != "scheduler"
)
"""The fields that a job takes over from its request."""


_OWN_FIELDS: Final = (
    "index", "prompt", "negative_prompt", "prompt_2", "negative_prompt_2", "empty_negative", "seed",
    "occurrence", "name", "row", "prompt_syntax", "reads_syntax", "embedding", "embedding_facts",
)  # fmt: skip
"""Fields that may differ within a batch."""

_BATCH_VALUES: Final = attrgetter(*(f.name for f in fields(Job) if f.name not in _OWN_FIELDS))
