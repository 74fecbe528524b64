"""Read the metadata that other programs embed in images, without executing any of it.

The text of A1111, dgenerate and mflux is parsed here and ComfyUI's graphs in `comfyui`; the records
of InvokeAI, Fooocus and NovelAI are parsed by sd-parsers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.interop import comfyui, dgenerate
from sdcli.interop.foreign_record import ForeignRecord, json_object, shorten
from sdcli.storage.images.embedded_text import read_embedded_text
from sdcli.storage.metadata import a1111

_CHUNKS: Final = {
    "prompt": "ComfyUI",
    "workflow": "ComfyUI",
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "Dream": "InvokeAI",
    "parameters": "A1111 or Fooocus",
}
"""Keywords of PNG text chunks, and the programs that write them."""


def read_foreign(path: Path, parameters: str | None) -> ForeignRecord | None:
    """Read the record of an image from another program, None when there is none.

    `parameters` is the image's A1111 text, if any. Never raises for the contents of the image.
    """
    texts = read_embedded_text(path)
    comment = parameters or texts.get("UserComment", "")
    if config := texts.get("DgenerateConfig") or dgenerate.find_config(comment):
        return dgenerate.read_dgenerate(config)
    facts = json_object(comment)
    if any(name.startswith("mflux") for name in facts):
        return _read_mflux(facts)
    if not facts and (parameters or a1111.parse_parameters(comment)[2]):
        return _read_a1111(comment)
    return comfyui.read_comfyui(texts.get("prompt", "")) or _read_with_sd_parsers(
        texts | {"parameters": comment}
    )


def describe_unreadable(path: Path) -> str | None:
    """Describe known text chunks that `read_foreign` could not read, None when there are none."""
    texts = read_embedded_text(path)
    chunks = [f"{name!r} ({program})" for name, program in _CHUNKS.items() if texts.get(name)]
    return f"its text {' and '.join(chunks)} could not be read" if chunks else None


_A1111_NAMES: Final = frozenset(
    {"Sampler", "Schedule type", "Size", "Model", "Eta"}
    | {info.a1111 for info in a1111.A1111_FIELDS.values()}
)
"""Names in A1111's text that have a field of sdcli."""


def _read_a1111(text: str) -> ForeignRecord:
    prompt, negative, values = a1111.parse_parameters(text)
    width, _, height = values.get("Size", "").partition("x")
    fields: dict[str, object] = {
        "prompt": prompt,
        "negative_prompt": negative,
        "scheduler": _a1111_scheduler(values),
        **{name: values.get(str(info.a1111)) for name, info in a1111.A1111_FIELDS.items()},
        "width": width,
        "height": height,
        "clip_skip": _a1111_clip_skip(values.get("Clip skip", "")),
        "model": values.get("Model"),
    }
    # The name before A1111 had settings for ancestral samplers and DDIM apart.
    fields["eta"] = fields["eta"] or values.get("Eta")
    extra = {name: value for name, value in values.items() if name not in _A1111_NAMES}
    if extra.get("RNG") == "CPU":
        # sdcli always draws its noise on the CPU, so nothing is lost.
        del extra["RNG"]
    is_cpp = "stable-diffusion.cpp" in values.get("Version", "")
    generator = "stable-diffusion.cpp" if is_cpp else "A1111"
    return ForeignRecord(generator=generator, fields=fields, extra=extra)


def _a1111_scheduler(values: Mapping[str, str]) -> str:
    sampler, schedule = values.get("Sampler", ""), values.get("Schedule type", "")
    # "Automatic" is kept, too: it isn't the same as the sampler's name alone.
    return f"{sampler} {schedule}" if sampler and schedule else sampler


def _a1111_clip_skip(text: str) -> int | None:
    """A1111 counts from 1, which skips nothing; Diffusers counts from 0."""
    is_count = text.isdecimal() and len(text) < 4 and int(text) > 0
    return int(text) - 1 if is_count else None


_MFLUX: Final = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "width": "width",
    "height": "height",
    "model": "model",
}


def _read_mflux(facts: Mapping[str, Any]) -> ForeignRecord:
    fields = {field: facts.get(name) for name, field in _MFLUX.items()}
    extra = {name: value for name, value in facts.items() if name not in _MFLUX}
    return ForeignRecord(generator="mflux", fields=fields, extra=extra)


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


def _read_with_sd_parsers(texts: dict[str, str]) -> ForeignRecord | None:
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
        "prompt": _join_prompts(sampler.prompts),
        "negative_prompt": _join_prompts(sampler.negative_prompts),
        "scheduler": shorten(sampler.name) + (f" {shorten(schedule)}" if schedule else ""),
        "model": _model_name(info),
    }
    if generator == "InvokeAI":
        # InvokeAI counts skipped layers as Diffusers does; Fooocus does not.
        fields["clip_skip"] = facts.pop("clip_skip", None) or None
    if size := re.fullmatch(r"\((\d+), *(\d+)\)", shorten(facts.get("resolution", ""))):
        fields |= {"width": size[1], "height": size[2]}
        del facts["resolution"]
    extra = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    return ForeignRecord(generator=generator, fields=fields, extra=extra)


def _join_prompts(prompts: Any) -> str:
    return ", ".join(dict.fromkeys(p.value for p in prompts if isinstance(p.value, str)))


def _model_name(info: Any) -> str | None:
    if model := info.samplers[0].model:
        return shorten(model.name or model.hash)
    # sd-parsers does not find the model in the records of InvokeAI 4 and later.
    record = json_object(info.raw_parameters.get("invokeai_metadata", ""))
    described = record.get("model")
    return shorten(described.get("name", "")) if isinstance(described, dict) else None
