"""Compute the ids of jobs: the text that is hashed, of which most is the same for many jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Final

_LENGTH: Final = 32
_OWN: Final = ("negative_prompt", "prompt", "reads_syntax", "seed")
"""The facts that differ most from job to job, in the order of the text."""

IdParts = tuple[str, str, str, str, str]
"""The text around the OWN facts."""


def split_text(facts: Mapping[str, Any]) -> IdParts:
    """Return the text of a job's facts, as JSON with sorted keys, without its OWN facts.

    The facts must have a prompt, a negative prompt and a seed, and other keys before those.
    """
    parts = [""]
    for name in sorted({*facts, *_OWN}):
        if name in _OWN:
            parts.append("")
        else:
            parts[-1] += f', "{name}": {json.dumps(facts[name], sort_keys=True, default=repr)}'
    first, *rest = parts
    assert first, "the text begins with a shared fact"
    return ("{" + first[2:], rest[0], rest[1], rest[2], rest[3] + "}")


def hash_text(
    parts: IdParts, negative_prompt: str, prompt: str, seed: int, *, reads_syntax: bool | str
) -> str:
    """Return the id of a job with these facts: the text is that of `json.dumps`.

    `reads_syntax` is the name of any syntax but A1111's, which is True.
    """
    # Left out at its default, as every field that version 0.1.0 did not have.
    syntax = f', "reads_syntax": {json.dumps(reads_syntax)}' if reads_syntax else ""
    text = (
        f'{parts[0]}, "negative_prompt": {encode_basestring_ascii(negative_prompt)}{parts[1]}'
        f', "prompt": {encode_basestring_ascii(prompt)}{parts[2]}{syntax}{parts[3]}'
        f', "seed": {seed}{parts[4]}'
    )
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]
