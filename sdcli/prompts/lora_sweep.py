"""Parse lists of LoRAs with ranges of weights, which are axes of a sweep."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from glob import glob
from itertools import product
from pathlib import Path
from typing import Final

from sdcli.fields.lora import SEPARATOR, LoraUse, parse_loras
from sdcli.inputs.natural_order import natural_key
from sdcli.inputs.paths import expand_user
from sdcli.prompts.fields import field_error
from sdcli.prompts.ranges import RANGE, check_length, fractions_in

LORA: Final = "lora"

_WITH_RANGE: Final = re.compile(r"(?P<name>.+?):(?P<range>[^:]+\.\.[^:]+(?::[^:]+)?)")


def lora_values(text: str, find_files: Callable[[str], Sequence[str]] | None = None) -> list[str]:
    """Parse "none,a:0..1:0.25;b": a list of what images use, each of which may be several LoRAs.

    `find_files` returns the files of a pattern such as "epochs/*.safetensors". Raises UsageError.
    """
    values: list[str] = []
    for word in text.split(","):
        if not word.strip():
            why = "has an empty item in its list" if "," in text else "is empty"
            raise field_error(LORA, text, why)
        parts = [_one_lora(part.strip(), find_files) for part in word.split(SEPARATOR)]
        values += [SEPARATOR.join(chosen) for chosen in product(*parts)]
        check_length(LORA, text, len(values))
    return values


def combine_loras(texts: Sequence[str]) -> list[str]:
    """Parse several options for the same image: each value of one with each of the others.

    Patterns stand for the files that they match, sorted so that epoch 9 is before epoch 10.
    """
    axes = [lora_values(text, _glob) for text in texts]
    return [SEPARATOR.join(chosen) for chosen in product(*axes)]


def relative_to(folder: Path, value: str) -> str:
    """Replace the names in a prompt file by paths where its folder has such a file."""
    uses = parse_loras(value)
    paths = {use: folder / use.name for use in uses if not use.name.startswith("~")}
    found = {use: str(path) for use, path in paths.items() if path.is_file()}
    # An absolute path stays as it is, and "none" is no name.
    return SEPARATOR.join(f"{found.get(u, u.name)}:{u.weights}" for u in uses) or value


def _one_lora(text: str, find_files: Callable[[str], Sequence[str]] | None) -> Sequence[str]:
    """Return a LoRA with each weight of its range, for each file of its pattern."""
    match = _WITH_RANGE.fullmatch(text)
    weights = [""]
    if match and (found := RANGE.fullmatch(match["range"])):
        text = match["name"]
        weights = [f":{weight:.10g}" for weight in fractions_in(LORA, found)]
    if "*" not in text:
        return [f"{text}{weight}" for weight in weights]
    if find_files is None:
        raise field_error(LORA, text, "is a pattern, which only the command line has")
    name = LoraUse.parse(text).name
    ending = text[len(name) :]
    return [f"{file}{ending}{weight}" for file in find_files(name) for weight in weights]


def _glob(pattern: str) -> Sequence[str]:
    files = glob(str(expand_user(pattern)), recursive=True)
    if not files:
        raise field_error(LORA, pattern, "matches no file")
    return sorted(files, key=natural_key)
