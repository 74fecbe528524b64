"""Take `<lora:NAME:WEIGHT>` out of prompts, as A1111 writes it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.fields.lora import LoraUse, format_loras, parse_loras
from sdcli.fields.prompt import PLAIN
from sdcli.prompts.wildcard_syntax import has_wildcards
from sdcli.request import GenerationRequest

LORA_TAG: Final = re.compile(r"<(?:lora|lyco)\s*:([^<>]*)>", re.IGNORECASE)

_NAMED: Final = {"te": "text_encoder", "unet": "unet"}


def take_lora_tags(request: GenerationRequest) -> GenerationRequest:
    """Return the request with the LoRAs that its prompt names among its own, and not in the prompt.

    A plain prompt names none: all of it is words. Raises UsageError for a tag that names none, or
    has arguments that sdcli does not know.
    """
    tags = tagged_loras(request)
    if not tags:
        return request
    # A tag between two words leaves two spaces.
    prompt = re.sub(r"[ \t]{2,}", " ", LORA_TAG.sub("", request.prompt)).strip()
    loras = format_loras((*parse_loras(request.lora), *tags))
    return replace(request, prompt=prompt, lora=loras)


def drop_open_tags(request: GenerationRequest) -> GenerationRequest:
    """Return the request without the tags that have wildcards, which are still to be filled."""
    if "<" not in request.prompt or request.prompt_syntax == PLAIN:
        return request
    tags = [match[0] for match in LORA_TAG.finditer(request.prompt) if has_wildcards(match[1])]
    prompt = request.prompt
    for tag in tags:
        prompt = prompt.replace(tag, "")
    return replace(request, prompt=prompt) if tags else request


def tagged_loras(request: GenerationRequest) -> tuple[LoraUse, ...]:
    """Return the LoRAs that the prompt of a request names. Raises UsageError."""
    if "<" not in request.prompt or request.prompt_syntax == PLAIN:
        return ()
    return tuple(_parse_tag(match[1], match[0]) for match in LORA_TAG.finditer(request.prompt))


def format_tag(use: LoraUse, name: str) -> str:
    """Write a LoRA as A1111 does: with two weights, that of the text encoder is the first."""
    if use.unet == use.text_encoder:
        return f"<lora:{name}:{use.unet:.10g}>"
    return f"<lora:{name}:{use.text_encoder:.10g}:{use.unet:.10g}>"


def _parse_tag(text: str, tag: str) -> LoraUse:
    words, named = text.split(":"), dict[str, float]()
    while "=" in words[-1] and len(words) > 1:
        key, _, value = words.pop().partition("=")
        if key.strip() not in _NAMED:
            raise _tag_error(tag, f"has {key.strip()}=, which sdcli does not know")
        named[_NAMED[key.strip()]] = _weight(value, tag)
    use = LoraUse.parse(":".join(words), partial(_tag_error, tag))
    # A1111 writes the weight of the text encoder first, sdcli that of the UNet.
    if use.weights.count(":"):
        use = replace(use, unet=use.text_encoder, text_encoder=use.unet)
    weights = {"unet": use.unet, "text_encoder": use.text_encoder, **named}
    return LoraUse(name=use.name, **weights)


def _weight(text: str, tag: str) -> float:
    use = LoraUse.parse(f"weight:{text.strip()}", partial(_tag_error, tag))
    # What is no number, or not a finite one, is read as a part of the name.
    if use.name != "weight":
        raise _tag_error(tag, f"has a weight that is no number: {text.strip()}")
    return use.unet


def _tag_error(tag: str, reason: str) -> UsageError:
    return UsageError(
        f"prompt: {quoted(tag)} {reason}", code="usage.prompt", hint="e.g. <lora:style:0.8>"
    )
