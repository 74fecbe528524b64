"""Read the records of A1111, Forge, SD.Next and stable-diffusion.cpp."""

from __future__ import annotations

from typing import Final

from sdcli.interop.foreign_record import ForeignRecord
from sdcli.storage.metadata.a1111_hires import HIRES_KEYS, read_hires
from sdcli.storage.metadata.a1111_parameters import A1111_FIELDS, parse_text

_A1111_NAMES: Final = frozenset(
    {"Sampler", "Schedule type", "Size", "Model", "Eta"}
    | {info.a1111 for info in A1111_FIELDS.values()}
    | set(HIRES_KEYS)
)
"""Names in A1111's text that have a field of sdcli."""
_UNSURE: Final = "settings stand inside its prompt too, so the prompt may be read wrongly"


def has_settings(text: str) -> bool:
    """Whether a text has a line of settings."""
    return bool(parse_text(text).fields)


def read_a1111(text: str) -> ForeignRecord:
    """Read a text; one without settings is all prompt."""
    parsed = parse_text(text)
    values = parsed.fields
    width, _, height = values.get("Size", "").partition("x")
    fields: dict[str, object] = {
        "prompt": parsed.prompt,
        "negative_prompt": parsed.negative_prompt,
        "scheduler": values.get("Sampler"),
        # "Automatic" is kept, too: it isn't the same as the sampler's name alone.
        "schedule": values.get("Schedule type"),
        **{name: values.get(str(info.a1111)) for name, info in A1111_FIELDS.items()},
        "width": width,
        "height": height,
        "clip_skip": _clip_skip(values.get("Clip skip", "")),
        "model": values.get("Model"),
    }
    fields |= read_hires(values)
    # The name before A1111 had settings for ancestral samplers and DDIM apart.
    fields["eta"] = fields["eta"] or values.get("Eta")
    extra = {name: value for name, value in values.items() if name not in _A1111_NAMES}
    if extra.get("RNG") == "CPU":
        # sdcli always draws its noise on the CPU, so nothing is lost.
        del extra["RNG"]
    if parsed.other:
        extra["other text"] = parsed.other
    is_cpp = "stable-diffusion.cpp" in values.get("Version", "")
    return ForeignRecord(
        generator="stable-diffusion.cpp" if is_cpp else "A1111",
        fields=fields,
        extra=extra,
        doubts=(_UNSURE,) if parsed.is_unsure else (),
    )


def _clip_skip(text: str) -> int | None:
    """A1111 counts from 1, which skips nothing; Diffusers counts from 0."""
    is_count = text.isdecimal() and len(text) < 4 and int(text) > 0
    return int(text) - 1 if is_count else None
