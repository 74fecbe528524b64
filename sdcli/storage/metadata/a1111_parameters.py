"""Read and write the "parameters" text of A1111, Forge, SD.Next and stable-diffusion.cpp."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.catalog.schedulers.resolve import a1111_names
from sdcli.checkpoints.adapters.recorded_embeddings import a1111_embeddings
from sdcli.checkpoints.adapters.recorded_loras import a1111_loras
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.fields.prompt import COMPEL, PLAIN
from sdcli.pipeline_spec import EMBEDDED
from sdcli.prompts.lora_tags import format_tag
from sdcli.prompts.syntax.compel import read_compel
from sdcli.prompts.syntax.weights import escape, write_weights
from sdcli.request import REQUEST_FIELDS
from sdcli.storage.metadata.a1111_hires import hires_texts

_FIELD = re.compile(r'\s*([\w][\w \-/.()]*?):\s*("(?:\\.|[^"\\])*"|\{[^{}]*\}|[^,]*)(?:,|$)')
_NEGATIVE = re.compile(r"^[ \t]*Negative prompt:", re.MULTILINE)
_CORE: Final[Mapping[str, re.Pattern[str]]] = {
    "Steps": re.compile(r"\d{1,6}"),
    "CFG scale": re.compile(r"-?\d{1,6}(\.\d*)?"),
    "Seed": re.compile(r"-?\d{1,20}"),
    "Size": re.compile(r"\d{1,9}\s*x\s*\d{1,9}", re.IGNORECASE),
}
"""Names that tell a line of settings from a prompt with colons in it, and their values."""
_INLINE: Final = re.compile(
    r"\bSteps:\s*\d+\s*,|\bSampler:[^,\n]{0,60},\s?\w[\w ]{0,40}:|\bCFG scale:\s*\d"
)
"""Settings in the midst of other text."""
_CORE_NAME: Final = re.compile(r"\b(Steps|Sampler|CFG scale|Seed|Size):")

A1111_FIELDS = {name: info for name, info in REQUEST_FIELDS.items() if info.a1111}
"""Fields that A1111's text has under one key of its own."""


_ALWAYS: Final = ("strength", "inpaint_padding")
"""Fields that A1111 writes whatever their value, where they have an effect."""


@dataclass(frozen=True, kw_only=True)
class ParametersText:
    """The parts of a text: prompts, settings, and text after the settings.

    `is_unsure` tells that settings also turned up inside a prompt, where none belong, or that the
    prompt may have been taken for settings.
    """

    prompt: str
    negative_prompt: str
    fields: Mapping[str, str]
    other: str = ""
    is_unsure: bool = False


def parse_text(text: str) -> ParametersText:
    """Parse a text by its line of settings, wherever that is. Without one, it is all prompt."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip().split("\n")
    index = _settings_line(lines)
    before, after = (lines, []) if index is None else (lines[:index], lines[index + 1 :])
    prompt, *negative = _NEGATIVE.split("\n".join(before), maxsplit=1)
    return ParametersText(
        prompt=prompt.strip(),
        negative_prompt="".join(negative).strip(),
        fields={} if index is None else _parse_fields(lines[index]),
        other="\n".join(after).strip(),
        is_unsure=any(_INLINE.search(line) or _is_settings(line) for line in before)
        or (index == 0 and not _CORE_NAME.match(lines[0])),
    )


def _settings_line(lines: Sequence[str]) -> int | None:
    """The index of the line of settings: the last that begins as A1111's does, else the last."""
    indices = [index for index, line in enumerate(lines) if _is_settings(line)]
    usual = [index for index in indices if lines[index].lstrip().startswith("Steps:")]
    return next(reversed(usual or indices), None)


def _is_settings(line: str) -> bool:
    """Whether a line is made of `Name: value` pairs, with one at least of the usual names."""
    first = _FIELD.match(line)
    # Without line ends, the prompt would be the name and the value of the first pair.
    if not first or first[1].endswith("prompt") or _CORE_NAME.search(first[2]):
        return False
    fields = _parse_fields(line)
    core = [name for name, form in _CORE.items() if form.fullmatch(fields.get(name, ""))]
    return bool(core) or (bool(fields.get("Sampler")) and len(fields) > 1)


def _parse_fields(line: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    position = 0
    while position < len(line):
        if match := _FIELD.match(line, position):
            fields.setdefault(match[1].strip(), _unquote(match[2].strip()))
            position = match.end()
        else:
            # Skip a name without a value, which some extensions write.
            position = line.find(",", position) + 1 or len(line)
    return fields


def _unquote(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value


def format_parameters(record: Mapping[str, Any]) -> str:
    """Format a record as A1111's "parameters" text: the prompts, then one line of fields.

    Raises KeyError, TypeError, ValueError or AttributeError for an incomplete record.
    """
    request = record["request"]
    syntax = request.get("prompt_syntax", PLAIN)
    prompt, negative = (
        _in_a1111_syntax(text, syntax) if text else text
        for text in (request["prompt"], request["negative_prompt"])
    )
    tags = [format_tag(use, name) for use, name in a1111_loras(record)[0]]
    lines = [" ".join([prompt, *tags])]
    if negative:
        lines.append(f"Negative prompt: {negative}")
    fields = ((name, value) for name, value in _a1111_fields(record) if value not in (None, ""))
    lines.append(", ".join(f"{name}: {_quote(value)}" for name, value in fields))
    return "\n".join(lines)


def _in_a1111_syntax(prompt: str, syntax: str) -> str:
    # A1111 would read brackets that were drawn as words as weights.
    if syntax == PLAIN:
        return escape(prompt)
    if syntax != COMPEL:
        return prompt
    # The weights and the words; A1111 has no blends, and encodes weights in another way.
    return " BREAK ".join(
        ", ".join(write_weights((t.text, t.weight) for t in text).strip() for text in part.texts)
        for part in read_compel(prompt)
    )


def _a1111_fields(record: Mapping[str, Any]) -> list[tuple[str, object]]:
    request, weights = record["request"], record["weights"]
    scheduler = record["scheduler"]
    sampler, schedule = a1111_names(scheduler["class"], scheduler["config"])
    numbers = {info.a1111: _number(name, request) for name, info in A1111_FIELDS.items()}
    return [
        ("Steps", numbers.pop("Steps")),  # A1111 looks for it to find the line
        ("Sampler", sampler),
        ("Schedule type", schedule),
        ("CFG scale", numbers.pop("CFG scale")),
        ("Seed", numbers.pop("Seed")),
        ("Size", f"{request['width']}x{request['height']}"),
        # A1111's hash is that of a checkpoint file; a folder has none.
        ("Model hash", weights.get("unet", "")[:10] if _is_file(request["model"]) else None),
        ("Model", _model_name(request["model"])),
        ("VAE hash", weights.get("vae", "")[:10] if request["vae"] else None),
        ("VAE", Path(request["vae"]).name if request["vae"] else None),
        ("Refiner", _model_name(request["refiner"]) if request.get("refiner") else None),
        *((str(name), number) for name, number in numbers.items()),
        ("Lora hashes", a1111_loras(record)[1]),
        ("TI hashes", a1111_embeddings(record)),
        *hires_texts(request),
        ("Inpaint area", "Only masked" if request.get("inpaint_area") == "mask" else None),
        ("RNG", "CPU"),  # the noise is drawn on the CPU on every device
        ("Version", f"sdcli {record['versions'].get('sdcli', '')}".strip()),
    ]


def _number(name: str, request: Mapping[str, Any]) -> object:
    """The value of a field as A1111 writes it; None for one that changes nothing."""
    # A record of an earlier version lacks fields that were added since.
    value = request.get(name)
    if value is None or (value == A1111_FIELDS[name].resolved and name not in _ALWAYS):
        return None
    if name == "clip_skip":
        return value + 1  # A1111 counts the layer that is used, from the end
    return f"{value:g}" if isinstance(value, float) else value


def _is_file(model: str) -> bool:
    return Path(model).suffix == ".safetensors"


def _model_name(model: str) -> str:
    """A1111's name of a model: that of its folder, or of its file without the suffix."""
    if model == EMBEDDED:
        return EMBEDDED_FOLDER.name
    path = Path(model)
    return path.stem if path.suffix in (".safetensors", ".ckpt") else path.name


def _quote(value: object) -> str:
    text = str(value)
    # A1111's own rule for values that would otherwise end early.
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",:\n") else text
