"""Read the records of InvokeAI, Fooocus and NovelAI with sd-parsers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sdcli.errors import UsageError
from sdcli.fields.prompt import COMPEL
from sdcli.interop.foreign_record import ForeignRecord, json_object, shorten
from sdcli.prompts.syntax.compel import has_compel_syntax

_SD_PARSERS: Final = {
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "cfg_rescale_multiplier": "guidance_rescale",
    "seed": "seed",
    "width": "width",
    "height": "height",
}
_SD_PARSERS_ERRORS: Final = (
    AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError
)  # fmt: skip
"""Exceptions of sd-parsers for JSON of an unexpected layout, besides its own."""


def read_with_sd_parsers(texts: Mapping[str, str]) -> ForeignRecord | None:
    """Read texts by their keywords, None if no parser knows them. Never raises."""
    from sd_parsers.exceptions import ParserError
    from sd_parsers.parsers import FooocusParser, InvokeAIParser, NovelAIParser

    for parser in (FooocusParser, InvokeAIParser, NovelAIParser):
        try:
            # A parser may change the dictionary that it is given.
            info = parser().parse(dict(texts))
        except (ParserError, *_SD_PARSERS_ERRORS):
            continue
        return _from_sd_parsers(info)
    return None


def _from_sd_parsers(info: Any) -> ForeignRecord:
    sampler, generator = info.samplers[0], str(info.generator.value)
    facts = {**info.metadata, **sampler.parameters}
    fields = {field: facts.pop(name, None) for name, field in _SD_PARSERS.items()}
    schedule = facts.pop("scheduler", None)
    fields |= {
        **_prompts(info, sampler),
        "scheduler": shorten(sampler.name),
        "schedule": shorten(schedule) if schedule else None,
        "model": _model_name(info),
    }
    if generator == "InvokeAI":
        # InvokeAI counts skipped layers as Diffusers does; Fooocus does not.
        fields["clip_skip"] = facts.pop("clip_skip", None) or None
        fields["prompt_syntax"] = _invokeai_syntax(fields)
    if size := re.fullmatch(r"\((\d+), *(\d+)\)", shorten(facts.get("resolution", ""))):
        fields |= {"width": size[1], "height": size[2]}
        del facts["resolution"]
    extra = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    return ForeignRecord(generator=generator, fields=fields, extra=extra)


def _prompts(info: Any, sampler: Any) -> dict[str, str]:
    prompt = _join_prompts(sampler.prompts)
    # sd-parsers leaves out an empty prompt of InvokeAI, as if there were none.
    record = json_object(info.raw_parameters.get("invokeai_metadata", ""))
    is_known = sampler.prompts or record.get("positive_prompt") == ""
    prompts = {"prompt": prompt} if is_known else {}
    return prompts | {"negative_prompt": _join_prompts(sampler.negative_prompts)}


def _invokeai_syntax(fields: Mapping[str, Any]) -> str | None:
    """Return compel for prompts that have its syntax, which InvokeAI reads; None for others."""
    texts = [fields.get(name) or "" for name in ("prompt", "negative_prompt")]
    try:
        has_syntax = any(map(has_compel_syntax, texts))
    except UsageError:
        # InvokeAI draws as words what it cannot read.
        return None
    return COMPEL if has_syntax else None


def _join_prompts(prompts: Any) -> str:
    return ", ".join(dict.fromkeys(p.value for p in prompts if isinstance(p.value, str)))


def _model_name(info: Any) -> str | None:
    if model := info.samplers[0].model:
        return shorten(model.name or model.hash)
    # sd-parsers does not find the model in the records of InvokeAI 4 and later.
    record = json_object(info.raw_parameters.get("invokeai_metadata", ""))
    described = record.get("model")
    return shorten(described.get("name", "")) if isinstance(described, dict) else None
