"""Describe the LoRA fields of requests and jobs, and the text in which they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import setting
from sdcli.field_validation import check_text

NONE: Final = "none"
SEPARATOR: Final = ";"
"""Between the LoRAs of one image."""

_MAX_WEIGHT: Final = 100
_NUMBER: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
_WRITTEN: Final = re.compile(rf"(.+?)(?::({_NUMBER}))?(?::({_NUMBER}))?")


@dataclass(frozen=True, kw_only=True)
class LoraUse:
    """A LoRA by its path, id or name, and its weights in the UNet and in the text encoders."""

    name: str
    unet: float = 1.0
    text_encoder: float = 1.0

    @classmethod
    def parse(cls, text: str, error: Callable[[str], UsageError] | None = None) -> LoraUse:
        """Parse NAME, NAME:WEIGHT or NAME:UNET:TEXT_ENCODER.

        Raises the UsageError that `error` makes of a reason, by default that of the field `lora`.
        """
        error = error or partial(lora_error, text)
        match = _WRITTEN.fullmatch(text.strip())
        if not match or match[1].strip().startswith(":") or match[1].strip().endswith(":"):
            raise error("does not name a LoRA")
        unet = 1.0 if match[2] is None else float(match[2])
        text_encoder = unet if match[3] is None else float(match[3])
        if max(abs(unet), abs(text_encoder)) > _MAX_WEIGHT:
            raise error(f"has a weight that is not between -{_MAX_WEIGHT} and 100")
        return cls(name=match[1].strip(), unet=unet, text_encoder=text_encoder)

    @property
    def weights(self) -> str:
        """The weights as they are written, the second only if it is another."""
        if self.unet == self.text_encoder:
            return f"{self.unet:.10g}"
        return f"{self.unet:.10g}:{self.text_encoder:.10g}"

    def __str__(self) -> str:
        return f"{self.name}:{self.weights}"


def parse_loras(text: str | None) -> tuple[LoraUse, ...]:
    """Parse the LoRAs of one image: "a.safetensors:0.8;b". Raises UsageError."""
    parts = [] if text is None else text.split(SEPARATOR)
    return tuple(LoraUse.parse(part) for part in parts if part.strip().lower() != NONE)


def format_loras(loras: Iterable[LoraUse]) -> str | None:
    """Write the LoRAs of one image as a request has them, None for none."""
    return SEPARATOR.join(map(str, loras)) or None


def short_loras(text: str | None) -> str:
    """The LoRAs of one image for people: the names of the files, and their weights."""
    loras = (replace(use, name=lora_stem(use.name)) for use in parse_loras(text))
    return ", ".join(map(str, loras)) or NONE


def lora_stem(name: str) -> str:
    """The name of a LoRA without its folder and suffix, as `<lora:NAME>` has it."""
    path = PurePath(name)
    return path.stem if path.suffix == ".safetensors" else path.name


def lora_error(text: str, reason: str, hint: str | None = None) -> UsageError:
    """The error of a text that names no LoRA."""
    usual = "e.g. --lora style.safetensors:0.8, or none"
    return UsageError(f"lora: {quoted(text)} {reason}", code="usage.lora", hint=hint or usual)


@dataclass(frozen=True, kw_only=True)
class LoraRequestFields:
    """The fields of a request that change the model by LoRAs."""

    lora: str | None = setting(
        None,
        "--lora",
        metavar="LORA[:WEIGHT]",
        help="Change the model by a LoRA: a .safetensors file, a hub id, a name in --lora-dir, "
        "embedded:flag, or embedded:fast for 4 steps. May be repeated; none for none. UNET:TEXT "
        "are two weights. Weights can be swept: style.safetensors:0..1:0.25.",
        aliases=("loras",),
        sweep=45,
        repeatable=True,
    )
    lora_dir: str | None = setting(
        None,
        "--lora-dir",
        metavar="DIR",
        help="Folder of LoRAs, in which names and <lora:NAME:WEIGHT> in prompts are looked up.",
        is_path=True,
    )

    def check_lora_fields(self) -> None:
        """Raise UsageError for fields that are no text, or name no LoRA."""
        for name in ("lora", "lora_dir"):
            check_text(name, getattr(self, name), optional=True)
        parse_loras(self.lora)


@dataclass(frozen=True, kw_only=True)
class LoraJobFields:
    """The LoRAs of a job: with their paths, and with the SHA-256 of their files in their place."""

    lora: str | None = None
    lora_sha256: str = ""
