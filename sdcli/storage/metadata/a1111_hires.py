"""Write and read the settings of a second pass in A1111's "parameters" text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sdcli.fields.hires import LANCZOS, LATENT
from sdcli.inputs.sizes import parse_size

STRENGTH_KEY: Final = "Denoising strength"
HIRES_KEYS: Final = (
    "Hires upscale", "Hires resize", "Hires strength", "Hires steps", "Hires upscaler",
)  # fmt: skip
_UPSCALERS: Final = {LATENT: "Latent", LANCZOS: "Lanczos"}


def hires_texts(request: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return the keys of a second pass and their values, but for its steps.

    A1111 has one strength, that of the second pass of an image from text. That of an image from
    another one goes by a name of its own, "Hires strength".
    """
    hires = request.get("hires")
    if hires is None:
        return []
    key = STRENGTH_KEY if request.get("image") is None else "Hires strength"
    factor = hires.removesuffix("x")
    return [
        (key, f"{request['hires_strength']:g}"),
        ("Hires resize", hires) if factor == hires else ("Hires upscale", factor),
        ("Hires upscaler", _UPSCALERS[request["hires_upscaler"]]),
    ]


def read_hires(values: Mapping[str, str]) -> dict[str, object]:
    """Return the fields of a second pass, unchecked, and those that it changes the meaning of.

    The second pass of an earlier A1111, whose width and height may be 0, is read alike.
    """
    size = parse_size(values.get("Hires resize", ""))
    hires = values.get("Hires upscale") or (f"{size[0]}x{size[1]}" if size else None)
    if not hires:
        return {}
    names = {name.lower(): ours for ours, name in _UPSCALERS.items()}
    upscaler = values.get("Hires upscaler")
    fields: dict[str, object] = {
        "hires": hires,
        "hires_upscaler": names.get(upscaler.lower(), upscaler) if upscaler else None,
    }
    own_strength = values.get("Hires strength")
    if own_strength:
        return {**fields, "hires_strength": own_strength}
    return {**fields, "hires_strength": values.get(STRENGTH_KEY), "strength": None}
