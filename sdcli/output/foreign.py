"""What other programs wrote into their images, as pure data: nothing of it is ever executed.

A1111's text, dgenerate's and mflux's are read here; ComfyUI's graphs, InvokeAI's, Fooocus' and
NovelAI's by sd-parsers.
"""

from __future__ import annotations

import json
import re
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdcli.output import a1111, encode


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A stranger's record: `found` has our names of fields (values unchecked), `other` the rest."""

    generator: str
    found: Mapping[str, object]
    other: Mapping[str, object] = field(default_factory=dict)


def read(path: Path, parameters: str | None) -> Reading | None:
    """The record of an image that is not ours; `parameters` is its A1111 text, None without one.

    Never raises for what stands in the image.
    """
    texts = _texts(path)
    if config := texts.get("DgenerateConfig"):
        return _dgenerate(config)
    comment = parameters or texts.get("UserComment", "")
    if comment.lstrip().startswith("{"):
        if found := _mflux(comment):
            return found
    elif parameters:
        return _a1111(parameters)
    elif "dgenerate" in comment[:200]:
        return _dgenerate(comment)
    return _by_library(path)


def _texts(path: Path) -> dict[str, str]:
    """All text of the image: PNG chunks, and EXIF's UserComment."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            image.load()
            texts = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            comment = image.getexif().get_ifd(0x8769).get(0x9286)
    except (*encode.UNREADABLE, Image.DecompressionBombError):
        return {}
    if isinstance(comment, bytes):
        for prefix, encoding in ((b"UNICODE\0", "utf-16-be"), (b"ASCII\0\0\0", "utf-8")):
            if comment.startswith(prefix):
                comment = comment.removeprefix(prefix).decode(encoding, errors="replace")
                break
        else:
            comment = comment.decode("utf-8", errors="replace")
    return texts | ({"UserComment": comment} if isinstance(comment, str) else {})


def _a1111(text: str) -> Reading:
    prompt, negative, fields = a1111.parse(text)
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
        "eta": fields.get("Eta") or fields.get("Eta DDIM"),
        "seed": fields.get("Seed"),
        "width": width,
        "height": height,
        "clip_skip": int(skip) - 1 if skip.isdecimal() and len(skip) < 4 and int(skip) else None,
        "model": fields.get("Model"),
    }
    known = ("Sampler", "Schedule type", "Steps", "CFG scale", "Seed", "Size", "Clip skip", "Model")
    other = {name: value for name, value in fields.items() if name not in known}
    is_cpp = "stable-diffusion.cpp" in version
    return Reading(
        generator="stable-diffusion.cpp" if is_cpp else "A1111", found=found, other=other
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


def _dgenerate(config: str) -> Reading:
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
    return Reading(generator="dgenerate", found=found, other=other)


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


def _mflux(text: str) -> Reading | None:
    facts = _json(text)
    if not any(str(name).startswith("mflux") for name in facts):
        return None
    found = {ours: facts.get(theirs) for theirs, ours in _MFLUX.items()}
    other = {str(name): value for name, value in facts.items() if name not in _MFLUX}
    return Reading(generator="mflux", found=found, other=other)


def _json(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _by_library(path: Path) -> Reading | None:
    """Ask sd-parsers. What it raises over a hostile image is no news: it could not read it."""
    from sd_parsers import ParserManager
    from sd_parsers.parsers import ComfyUIParser, FooocusParser, InvokeAIParser, NovelAIParser

    parsers = [FooocusParser, ComfyUIParser, InvokeAIParser, NovelAIParser]
    try:
        info = ParserManager(managed_parsers=list(parsers)).parse(path)
        return _from_library(info) if info and info.samplers else None
    except Exception:
        return None


def _sized_node(metadata: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """ComfyUI keeps the size in a node of its own, which sd-parsers lists with the others."""
    lists = (nodes for nodes in metadata.values() if isinstance(nodes, list))
    nodes = (node for nodes in lists for node in nodes if isinstance(node, Mapping))
    return next((node for node in nodes if "width" in node and "height" in node), {})


def _from_library(info: Any) -> Reading:
    sampler = info.samplers[0]
    facts = {str(k): v for k, v in sampler.parameters.items()}
    schedule = facts.get("scheduler")
    name = sampler.name if schedule in (None, "normal") else f"{sampler.name} {schedule}"
    size = {**_sized_node(info.metadata), **info.metadata, **facts}
    found: dict[str, object] = {
        "prompt": str(info.full_prompt),
        "negative_prompt": str(info.full_negative_prompt),
        "scheduler": name,
        "num_inference_steps": facts.get("steps"),
        "guidance_scale": facts.get("cfg_scale"),
        "seed": facts.get("seed", facts.get("noise_seed")),
        "width": size.get("width"),
        "height": size.get("height"),
        "model": str(sampler.model) if sampler.model else None,
    }
    known = ("steps", "cfg_scale", "seed", "noise_seed", "scheduler", "width", "height")
    other = {key: str(value)[:200] for key, value in facts.items() if key not in known}
    return Reading(generator=str(info.generator.value), found=found, other=other)
