"""Resolve the LoRAs of a request: their files, their hashes, and the settings that they bring."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.embedded_addons import is_embedded_addon
from sdcli.checkpoints.adapters.few_steps import FewSteps, find_few_steps
from sdcli.checkpoints.adapters.lora_file import MatchedLora, match_to_model
from sdcli.checkpoints.adapters.lora_names import find_lora
from sdcli.checkpoints.file_hashes import verified_sha256
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import SdcliError
from sdcli.field_validation import refuse_separator
from sdcli.fields.lora import SEPARATOR, LoraUse, format_loras, parse_loras
from sdcli.prompts.lora_tags import tagged_loras, take_lora_tags
from sdcli.request import GenerationRequest

_TRIGGERS: Final = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_words")


@dataclass(frozen=True, kw_only=True)
class RequestLoras:
    """The LoRAs of a request: as its job has them, and with the hashes of their files.

    `notes` are sentences for the user, `words` those that the LoRAs teach.
    """

    lora: str | None = None
    lora_sha256: str = ""
    notes: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()
    few_steps: FewSteps | None = None

    def job_fields(self) -> dict[str, Any]:
        """The fields of a job that come from the LoRAs."""
        return {"lora": self.lora, "lora_sha256": self.lora_sha256}

    def change(self, defaults: ModelDefaults) -> ModelDefaults:
        """The model's defaults with those of a LoRA that makes it need few steps."""
        few = self.few_steps
        return defaults if few is None else _change(defaults, defaults.folder, few)


NO_LORAS: Final = RequestLoras()


# Equal defaults must be one object: it is what templates of jobs are found by.
@lru_cache(maxsize=64)
def _change(defaults: ModelDefaults, folder: Path | None, few: FewSteps) -> ModelDefaults:
    del folder  # defaults of two folders may be equal
    guidance = defaults.guidance_scale if few.guidance_scale is None else few.guidance_scale
    return replace(
        defaults,
        scheduler=few.scheduler,
        num_inference_steps=few.num_inference_steps,
        guidance_scale=guidance,
    )


@dataclass(frozen=True, kw_only=True)
class _FoundLora:
    """A LoRA of a request with its hash; `use` has the name that finds it again."""

    use: LoraUse
    sha256: str
    match: MatchedLora
    few_steps: FewSteps | None


def take_loras(written: GenerationRequest) -> tuple[GenerationRequest, RequestLoras]:
    """Return the request without the LoRAs that its prompt names, and all that it has.

    They are found and matched to the model by their headers alone. Raises UsageError, ModelError,
    UnsafeError and CorruptError, whose messages begin with the field that is at fault.
    """
    request = take_lora_tags(written)
    if request.lora is None:
        return request, NO_LORAS
    tagged = {use.name for use in tagged_loras(written)}
    return request, _read_loras(request, tagged)


def _read_loras(request: GenerationRequest, tagged: Set[str]) -> RequestLoras:
    found = []
    for use in parse_loras(request.lora):
        try:
            found.append(_find(use, request))
        except SdcliError as error:
            field = "prompt" if use.name in tagged else "lora"
            message = f"{field}: {error.message}"
            raise type(error)(message, code=error.code, hint=error.hint) from error
    # The sum of several changes is rounded, so it is always formed in the same order.
    found.sort(key=lambda lora: (lora.sha256, lora.use.weights))
    return RequestLoras(
        lora=format_loras(lora.use for lora in found),
        lora_sha256=SEPARATOR.join(f"{lora.sha256}:{lora.use.weights}" for lora in found),
        notes=tuple(dict.fromkeys(note for lora in found for note in _notes(lora, request))),
        words=frozenset(word for lora in found for word in _words(lora.match)),
        few_steps=next((lora.few_steps for lora in found if lora.few_steps), None),
    )


def _find(use: LoraUse, request: GenerationRequest) -> _FoundLora:
    spec = request.spec
    path = find_lora(use.name, request.lora_dir, offline=spec.offline)
    digest = verified_sha256("lora", path)
    match = match_to_model(path, digest, spec)
    few = find_few_steps((use.name, path.stem), match.metadata) if use.unet > 0 else None
    return _FoundLora(
        use=replace(use, name=refuse_separator("lora", _lasting_name(use.name, path))),
        sha256=digest,
        match=match,
        few_steps=few,
    )


def _lasting_name(name: str, path: Path) -> str:
    """The name that finds the file without --lora-dir: its path, or the id of another place."""
    is_id = is_embedded_addon(name) or "snapshots" in path.parts
    return name if is_id else str(path)


def _notes(lora: _FoundLora, request: GenerationRequest) -> list[str]:
    notes = [lora.match.note()]
    if few := lora.few_steps:
        settings = {
            "scheduler": few.scheduler,
            "num_inference_steps": f"{few.num_inference_steps} steps",
            "guidance_scale": few.guidance_scale and f"guidance {few.guidance_scale:g}",
        }
        left_out = {name for name in settings if getattr(request, name) is None}
        chosen = [text for name, text in settings.items() if text and name in left_out]
        if chosen:
            name = lora.use.name if is_embedded_addon(lora.use.name) else lora.match.path.name
            notes.append(f"{name} is for few steps ({few.name}), so it uses {', '.join(chosen)}")
    return [note for note in notes if note]


def _words(match: MatchedLora) -> list[str]:
    texts = (match.metadata.get(key, "") for key in _TRIGGERS)
    return re.findall(r"[^\W_]+", " ".join(texts).lower())
