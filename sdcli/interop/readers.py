"""What other programs wrote into their images, as pure data: nothing of it is ever executed.

A1111's text, dgenerate's and mflux's are read here, ComfyUI's graphs in `comfyui`; InvokeAI's,
Fooocus' and NovelAI's records by sd-parsers.
"""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.interop import comfyui
from sdcli.interop.foreign_record import ForeignRecord, json_object, shorten
from sdcli.storage.images.codec import UNREADABLE, comment_text
from sdcli.storage.metadata import a1111

_CHUNKS: Final = {
    "prompt": "ComfyUI",
    "workflow": "ComfyUI",
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "Dream": "InvokeAI",
    "parameters": "A1111 or Fooocus",
}
"""Where records stand in a PNG, and whose they are."""


def read_foreign(path: Path, parameters: str | None) -> ForeignRecord | None:
    """The record of an image that is not ours; `parameters` is its A1111 text, None without one.

    Never raises for what stands in the image.
    """
    texts = _texts(path)
    comment = parameters or texts.get("UserComment", "")
    if config := texts.get("DgenerateConfig") or _dgenerate_config(comment):
        return _dgenerate(config)
    facts = json_object(comment)
    if any(name.startswith("mflux") for name in facts):
        return _mflux(facts)
    if not facts and (parameters or a1111.parse_parameters(comment)[2]):
        return _a1111(comment)
    return comfyui.read_comfyui(texts.get("prompt", "")) or _by_library(
        texts | {"parameters": comment}
    )


def describe_unreadable(path: Path) -> str | None:
    """What stands in an image that `read` could not read, None when there is nothing."""
    texts = _texts(path)
    found = [f"{name!r} ({whose})" for name, whose in _CHUNKS.items() if texts.get(name)]
    return f"its text {' and '.join(found)} could not be read" if found else None


def _texts(path: Path) -> dict[str, str]:
    """All text of the image: PNG chunks, and EXIF's UserComment."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            image.load()
            texts = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            comment = image.getexif().get_ifd(0x8769).get(0x9286)
    except (*UNREADABLE, Image.DecompressionBombError):
        return {}
    text = comment_text(comment)
    return texts if text is None else texts | {"UserComment": text}


def _a1111(text: str) -> ForeignRecord:
    prompt, negative, fields = a1111.parse_parameters(text)
    sampler, schedule = fields.get("Sampler", ""), fields.get("Schedule type", "")
    if sampler and schedule:  # Automatic, too: it is not the plain sampler
        sampler = f"{sampler} {schedule}"
    skip = fields.get("Clip skip", "")
    width, _, height = fields.get("Size", "").partition("x")
    version = fields.get("Version", "")
    found: dict[str, object] = {
        "prompt": prompt,
        "negative_prompt": negative,
        "scheduler": sampler,
        "num_inference_steps": fields.get("Steps"),
        "guidance_scale": fields.get("CFG scale"),
        "guidance_rescale": fields.get("CFG Rescale phi"),
        "eta": fields.get("Eta DDIM") or fields.get("Eta"),
        "seed": fields.get("Seed"),
        "width": width,
        "height": height,
        "clip_skip": int(skip) - 1 if skip.isdecimal() and len(skip) < 4 and int(skip) else None,
        "model": fields.get("Model"),
    }
    known = ("Sampler", "Schedule type", "Steps", "CFG scale", "Seed", "Size", "Clip skip", "Model")
    asked = (*known, "CFG Rescale phi", "Eta", "Eta DDIM")
    other = {name: value for name, value in fields.items() if name not in asked}
    if other.get("RNG") == "CPU":  # so is ours
        del other["RNG"]
    is_cpp = "stable-diffusion.cpp" in version
    return ForeignRecord(
        generator="stable-diffusion.cpp" if is_cpp else "A1111", fields=found, extra=other
    )


_DGENERATE = {
    "prompts": "prompt",
    "seeds": "seed",
    "inference-steps": "num_inference_steps",
    "guidance-scales": "guidance_scale",
    "guidance-rescales": "guidance_rescale",
    "clip-skips": "clip_skip",
    "scheduler": "scheduler",
    "schedulers": "scheduler",
    "output-size": "size",
    "vae": "vae",
}


def _dgenerate_config(comment: str) -> str | None:
    return comment if re.match(r"\s*#![^\n]*\bdgenerate\b", comment) else None


def _dgenerate(config: str) -> ForeignRecord:
    """A config is a shell-like script; its one invocation is read as words and never run."""
    lines = [line for line in config.splitlines() if not line.lstrip().startswith(("#", "\\"))]
    try:
        words = shlex.split(" ".join(line.rstrip("\\") for line in lines))
    except ValueError:  # a quote that never ends
        words = []
    options: dict[str, list[str]] = {}
    name = "model"
    for word in words:
        if re.fullmatch(r"--?[a-z][\w-]*", word):
            name = word.lstrip("-")
            options.setdefault(name, [])
        else:
            options.setdefault(name, []).append(word)
    found: dict[str, object] = {
        _DGENERATE.get(name, name): values[0]
        for name, values in options.items()
        if values and (name in _DGENERATE or name == "model")
    }
    width, _, height = str(found.pop("size", "")).partition("x")
    prompt, _, negative = str(found.get("prompt", "")).partition(";")
    found |= {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    found |= {"width": width, "height": height or width}
    other = {name: " ".join(v) for name, v in options.items() if name not in (*_DGENERATE, "model")}
    return ForeignRecord(generator="dgenerate", fields=found, extra=other)


_MFLUX = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "width": "width",
    "height": "height",
    "model": "model",
}


def _mflux(facts: Mapping[str, Any]) -> ForeignRecord:
    found = {ours: facts.get(theirs) for theirs, ours in _MFLUX.items()}
    other = {name: value for name, value in facts.items() if name not in _MFLUX}
    return ForeignRecord(generator="mflux", fields=found, extra=other)


_LIBRARY: Final = {
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "cfg_rescale_multiplier": "guidance_rescale",
    "seed": "seed",
    "width": "width",
    "height": "height",
}
_MALFORMED: Final = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""What sd-parsers raises over JSON of another layout, besides its own error."""


def _by_library(texts: dict[str, str]) -> ForeignRecord | None:
    """Ask sd-parsers."""
    from sd_parsers.exceptions import ParserError
    from sd_parsers.parsers import FooocusParser, InvokeAIParser, NovelAIParser

    for parser in (FooocusParser, InvokeAIParser, NovelAIParser):
        try:
            info = parser().parse(dict(texts))
        except (ParserError, *_MALFORMED):
            continue
        return _from_library(info)
    return None


def _from_library(info: Any) -> ForeignRecord:
    sampler, generator = info.samplers[0], str(info.generator.value)
    facts = {**info.metadata, **sampler.parameters}
    found = {ours: facts.pop(theirs, None) for theirs, ours in _LIBRARY.items()}
    schedule = facts.pop("scheduler", None)
    found |= {
        "prompt": _prompts(sampler.prompts),
        "negative_prompt": _prompts(sampler.negative_prompts),
        "scheduler": shorten(sampler.name) + (f" {shorten(schedule)}" if schedule else ""),
        "model": _model(info),
    }
    if generator == "InvokeAI":  # it counts skipped layers as Diffusers does; Fooocus does not
        found["clip_skip"] = facts.pop("clip_skip", None) or None
    if size := re.fullmatch(r"\((\d+), *(\d+)\)", shorten(facts.get("resolution", ""))):
        found |= {"width": size[1], "height": size[2]}
        del facts["resolution"]
    other = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    return ForeignRecord(generator=generator, fields=found, extra=other)


def _prompts(prompts: Any) -> str:
    return ", ".join(dict.fromkeys(p.value for p in prompts if isinstance(p.value, str)))


def _model(info: Any) -> str | None:
    """The model's name; sd-parsers does not know where InvokeAI 4 has it."""
    if model := info.samplers[0].model:
        return shorten(model.name or model.hash)
    record = json_object(info.raw_parameters.get("invokeai_metadata", ""))
    described = record.get("model")
    return shorten(described.get("name", "")) if isinstance(described, dict) else None
