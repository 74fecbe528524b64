"""Read dgenerate's configs, the scripts that it embeds in its images."""

from __future__ import annotations

import re
import shlex
from typing import Final

from sdcli.interop.foreign_record import ForeignRecord

_OPTIONS: Final = {
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
_MODEL: Final = "model"
"""Name given to the words before the first option, of which the first is the model."""


def find_config(comment: str) -> str | None:
    """Return the comment if it is a config of dgenerate, which begins with `#! dgenerate`."""
    return comment if re.match(r"\s*#![^\n]*\bdgenerate\b", comment) else None


def read_dgenerate(config: str) -> ForeignRecord:
    """Read a config as one command line, without running it. Of several values, the first counts.

    Comments and directives are skipped.
    """
    options = _parse_options(config)
    fields: dict[str, object] = {
        _OPTIONS.get(name, name): values[0]
        for name, values in options.items()
        if values and (name in _OPTIONS or name == _MODEL)
    }
    width, _, height = str(fields.pop("size", "")).partition("x")
    if "prompt" in fields:
        prompt, _, negative = str(fields["prompt"]).partition(";")
        fields |= {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    fields |= {
        "width": width,
        # One number stands for both sides.
        "height": height or width,
    }
    extra = {
        name: " ".join(values)
        for name, values in options.items()
        if name not in _OPTIONS and name != _MODEL
    }
    return ForeignRecord(generator="dgenerate", fields=fields, extra=extra)


def _parse_options(config: str) -> dict[str, list[str]]:
    """The words after each option of the command line, by the option's name."""
    lines = [line for line in config.splitlines() if not line.lstrip().startswith(("#", "\\"))]
    try:
        words = shlex.split(" ".join(line.rstrip("\\") for line in lines))
    except ValueError:
        # A quote is never closed.
        words = []
    options: dict[str, list[str]] = {}
    name = _MODEL
    for word in words:
        # Negative numbers are values, not options.
        if re.fullmatch(r"--?[a-z][\w-]*", word):
            name = word.lstrip("-")
            options.setdefault(name, [])
        else:
            options.setdefault(name, []).append(word)
    return options
